package vpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/zap"

	"ecsagent/cni/eni"
	"ecsagent/cni/kernel"
	"ecsagent/controlplane/wire"
)

const (
	bridgeName = "vpcbr"
	metadata   = "169.254.169.254"
	metadata6  = "fd00:ec2::254"
	spaces     = "/run/netns"
	// mtu is that of elastic network interfaces.
	mtu = 9001
)

// VPC is a subnet with its interfaces. Its methods must not be called at the same time.
type VPC struct {
	options Options
	log     *zap.Logger
	host    *kernel.Space
	router  *kernel.Space
	bridge  netlink.Link

	server  *http.Server // nil: no metadata
	serving sync.WaitGroup
}

// Open makes the VPC, or takes over what an earlier process left of it. The context
// bounds only this call.
func Open(ctx context.Context, o Options) (*VPC, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	v := &VPC{options: o, log: o.Log}
	if err := v.open(ctx); err != nil {
		v.release()
		return nil, fmt.Errorf("make a VPC in network namespace %q: %w", o.Name, err)
	}
	return v, nil
}

func (v *VPC) open(ctx context.Context) (err error) {
	if v.options.Host == "" {
		v.host, err = kernel.Host()
	} else {
		v.host, err = kernel.Open(v.options.Host)
	}
	if err != nil {
		return fmt.Errorf("open the network namespace of the agent: %w", err)
	}
	path := filepath.Join(spaces, v.options.Name)
	v.router, err = kernel.Open(path)
	if errors.Is(err, kernel.ErrGone) {
		if err = makeSpace(v.options.Name, path); err == nil {
			v.router, err = kernel.Open(path)
		}
	}
	if err != nil {
		return err
	}
	if err := v.prepare(); err != nil {
		return err
	}
	if v.options.Metadata == nil {
		return nil
	}
	return v.serve(ctx)
}

// makeSpace makes a named namespace, on a thread that ends in it.
func makeSpace(name, path string) error {
	// What a namespace left behind that was deleted by hand.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		ns, err := netns.NewNamed(name)
		if err == nil {
			err = ns.Close()
		}
		done <- err
	}()
	return <-done
}

// prepare brings the router into shape, whatever is there of it.
func (v *VPC) prepare() error {
	a := netlink.NewLinkAttrs()
	a.Name = bridgeName
	if err := v.router.LinkAdd(&netlink.Bridge{LinkAttrs: a}); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the bridge %s: %w", bridgeName, err)
	}
	var err error
	if v.bridge, err = v.router.ByName(bridgeName); err != nil {
		return err
	}
	lo, err := v.router.ByName("lo")
	if err != nil {
		return err
	}
	err = errors.Join(v.router.LinkSetUp(lo), v.router.LinkSetUp(v.bridge), eni.AddAddress(v.router, v.bridge, v.options.Subnet))
	if v.options.Subnet6.IsValid() {
		err = errors.Join(err, eni.AddAddress(v.router, v.bridge, v.options.Subnet6))
	}
	for _, a := range v.metadata() {
		ip := netip.MustParseAddr(a)
		err = errors.Join(err, eni.AddAddress(v.router, lo, netip.PrefixFrom(ip, ip.BitLen())))
	}
	return err
}

// metadata are the addresses of instance metadata.
func (v *VPC) metadata() []string {
	if v.options.Subnet6.IsValid() {
		return []string{metadata, metadata6}
	}
	return []string{metadata}
}

// serve answers requests for instance metadata in the VPC.
func (v *VPC) serve(ctx context.Context) error {
	var listeners []net.Listener
	err := v.router.Do(func() error {
		for _, a := range v.metadata() {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(a, "80"))
			if err != nil {
				return err
			}
			listeners = append(listeners, l)
		}
		return nil
	})
	if err != nil {
		for _, l := range listeners {
			_ = l.Close() // nobody used it
		}
		return err
	}
	v.server = &http.Server{Handler: v.options.Metadata, ReadHeaderTimeout: 30 * time.Second, ErrorLog: zap.NewStdLog(v.log.Named("vpc"))}
	for _, l := range listeners {
		v.serving.Go(func() {
			if err := v.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				v.log.Error("instance metadata not served in the VPC", zap.Error(err))
			}
		})
	}
	return nil
}

// Subnet implements service.VPC.
func (v *VPC) Subnet() netip.Prefix { return v.options.Subnet }

// Subnet6 implements service.VPC.
func (v *VPC) Subnet6() netip.Prefix { return v.options.Subnet6 }

// IPv6Only implements service.VPC.
func (v *VPC) IPv6Only() bool { return v.options.IPv6Only }

// Attach implements service.VPC.
func (v *VPC) Attach(i wire.NetworkInterface) error {
	mac, err := parseMAC(i.MAC)
	if err != nil {
		return err
	}
	name, peer := names(mac)
	switch _, err := v.router.ByName(peer); {
	case err == nil:
		return nil
	case !errors.Is(err, kernel.ErrNotFound):
		return err
	}
	a := netlink.NewLinkAttrs()
	a.Name, a.HardwareAddr, a.MTU = name, mac, mtu
	pair := &netlink.Veth{LinkAttrs: a, PeerName: peer, PeerNamespace: netlink.NsFd(v.router.FD())}
	if err := v.host.LinkAdd(pair); err != nil {
		return fmt.Errorf("make the interface %s: %w", name, err)
	}
	end, err := v.router.ByName(peer)
	if err == nil {
		err = errors.Join(v.router.LinkSetMTU(end, mtu), v.router.LinkSetMasterByIndex(end, v.bridge.Attrs().Index), v.router.LinkSetUp(end))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("connect the interface %s with the subnet: %w", name, err), v.Detach(i.MAC))
	}
	v.log.Info("network interface attached", zap.String("mac", i.MAC), zap.String("link", name))
	return nil
}

// Detach implements service.VPC. The task's end goes with the router's.
func (v *VPC) Detach(text string) error {
	mac, err := parseMAC(text)
	if err != nil {
		return err
	}
	_, peer := names(mac)
	return v.remove(peer)
}

func (v *VPC) remove(peer string) error {
	end, err := v.router.ByName(peer)
	if errors.Is(err, kernel.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = v.router.LinkDel(end)
	}
	if err != nil {
		return fmt.Errorf("remove the interface %s: %w", peer, err)
	}
	v.log.Info("network interface detached", zap.String("link", peer))
	return nil
}

// peers are the router's ends of all interfaces.
func (v *VPC) peers() ([]string, error) {
	links, err := v.router.Links()
	if err != nil {
		return nil, err
	}
	var all []string
	for _, l := range links {
		if l.Type() == "veth" {
			all = append(all, l.Attrs().Name)
		}
	}
	return all, nil
}

// Keep removes all interfaces but those with these MAC addresses.
func (v *VPC) Keep(macs []string) error {
	var keep []string
	for _, text := range macs {
		mac, err := parseMAC(text)
		if err != nil {
			return err
		}
		_, peer := names(mac)
		keep = append(keep, peer)
	}
	all, err := v.peers()
	if err != nil {
		return err
	}
	for _, peer := range all {
		if !slices.Contains(keep, peer) {
			err = errors.Join(err, v.remove(peer))
		}
	}
	return err
}

// Close removes the VPC, unless tasks have interfaces in it: then it stays for them and
// for the next process.
func (v *VPC) Close() error {
	left, err := v.peers()
	v.release()
	if err != nil {
		return err
	}
	if len(left) > 0 {
		v.log.Warn("the VPC stays, tasks have interfaces in it", zap.String("namespace", v.options.Name), zap.Int("interfaces", len(left)))
		return nil
	}
	if err := netns.DeleteNamed(v.options.Name); err != nil {
		return fmt.Errorf("remove network namespace %q: %w", v.options.Name, err)
	}
	return nil
}

func (v *VPC) release() {
	if v.server != nil {
		_ = v.server.Close() // ends Serve whatever it says
		v.serving.Wait()
	}
	for _, s := range []*kernel.Space{v.router, v.host} {
		if s != nil {
			s.Close()
		}
	}
}
