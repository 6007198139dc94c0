package bridge

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ecsagent/cni/eni"
	"ecsagent/cni/kernel"
)

// pair is a veth pair, one end in the task and the other on the host.
type pair struct{ inside, outside netlink.Link }

// find is the pair that an earlier call made, if any.
func find(host, task *kernel.Space, ifname string) (*pair, error) {
	inside, err := task.ByName(ifname)
	if errors.Is(err, kernel.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if inside.Type() != "veth" {
		return nil, fmt.Errorf("interface %q of the task is a %s, not one of ecs-bridge's", ifname, kind(inside))
	}
	outside, err := host.ByIndex(inside.Attrs().ParentIndex)
	if err != nil && !errors.Is(err, kernel.ErrNotFound) {
		return nil, err
	}
	if err != nil || outside.Type() != "veth" || outside.Attrs().ParentIndex != inside.Attrs().Index {
		outside = nil
	}
	return &pair{inside: inside, outside: outside}, nil
}

// kind says what a link is; one without a kind belongs to a driver.
func kind(l netlink.Link) string {
	if l.Type() == "device" {
		return "device of the host"
	}
	return l.Type()
}

// newPair makes a pair. Its end in the task has no link-local IPv6 address: nobody needs
// it, and the route that comes with it, some time later, would be one too many.
func newPair(host, task *kernel.Space, c config, p plan, ifname string) (*pair, error) {
	const attempts = 10
	for attempt := 1; ; attempt++ {
		name := make([]byte, 4)
		_, _ = rand.Read(name) // never fails
		a := netlink.NewLinkAttrs()
		a.Name, a.MTU, a.HardwareAddr = ifname, c.mtu, p.mac
		v := &netlink.Veth{LinkAttrs: a, PeerName: fmt.Sprintf("veth%x", name), PeerNamespace: netlink.NsFd(host.FD()), PeerMTU: uint32(c.mtu)}
		err := task.LinkAdd(v)
		if errors.Is(err, fs.ErrExist) && attempt < attempts {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("make the pair %q and %q: %w", ifname, v.PeerName, err)
		}
		break
	}
	made, err := find(host, task, ifname)
	if err == nil && (made == nil || made.outside == nil) {
		err = fmt.Errorf("the pair %q is gone as soon as it was made", ifname)
	}
	return made, err
}

// configure gives a new pair's end in the task its addresses and routes, and nothing
// else.
func configure(task *kernel.Space, l netlink.Link, p plan) error {
	name := l.Attrs().Name
	const addrGenNone = 1
	if err := task.LinkSetIP6AddrGenMode(l, addrGenNone); err != nil && !kernel.NoFamily(err) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("switch off link-local IPv6 on %q: %w", name, err)
	}
	if err := task.LinkSetUp(l); err != nil {
		return fmt.Errorf("set interface %q up: %w", name, err)
	}
	for _, a := range p.addresses {
		if err := eni.AddAddress(task, l, a); err != nil {
			return err
		}
	}
	for _, r := range p.routes {
		dst := net.IPNet{IP: r.dst.Addr().AsSlice(), Mask: net.CIDRMask(r.dst.Bits(), r.dst.Addr().BitLen())}
		err := task.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: &dst, Gw: r.gateway.AsSlice(), Table: unix.RT_TABLE_MAIN})
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("route %s via %s on %q: %w", r.dst, r.gateway, name, err)
		}
	}
	return dropDirect(task, l)
}

// dropDirect deletes the routes without a gateway: the task has no neighbours here. The
// route to the gateway stays, and with it the answers to the host.
func dropDirect(task *kernel.Space, l netlink.Link) error {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := task.Routes(l, family)
		if err != nil {
			return err
		}
		for _, r := range all {
			if r.Gw != nil {
				continue
			}
			if err := task.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("delete route %s of %q: %w", r.Dst, l.Attrs().Name, err)
			}
		}
	}
	return nil
}

// check says how a pair differs from what it has to be, if it does.
func (pr *pair) check(task *kernel.Space, bridge netlink.Link, p plan) error {
	name := pr.inside.Attrs().Name
	if pr.outside == nil {
		return fmt.Errorf("the other end of %q is not on the host", name)
	}
	if out := pr.outside.Attrs(); out.MasterIndex != bridge.Attrs().Index {
		return fmt.Errorf("%q, the other end of %q, is no port of bridge %q", out.Name, name, bridge.Attrs().Name)
	} else if out.Flags&net.FlagUp == 0 {
		return fmt.Errorf("%q, the other end of %q, is down", out.Name, name)
	}
	if pr.inside.Attrs().Flags&net.FlagUp == 0 {
		return fmt.Errorf("interface %q is down", name)
	}
	if p.mac != nil && pr.inside.Attrs().HardwareAddr.String() != p.mac.String() {
		return fmt.Errorf("interface %q has MAC %s, not %s", name, pr.inside.Attrs().HardwareAddr, p.mac)
	}
	return checkTask(task, pr.inside, p)
}

func checkTask(task *kernel.Space, l netlink.Link, p plan) error {
	name := l.Attrs().Name
	present, err := task.Addresses(l)
	if err != nil {
		return err
	}
	var have []netip.Prefix
	for _, a := range present {
		ip, _ := netip.AddrFromSlice(a.IP)
		ones, _ := a.Mask.Size()
		if ip = ip.Unmap(); !ip.Is6() || !ip.IsLinkLocalUnicast() {
			have = append(have, netip.PrefixFrom(ip, ones))
		}
	}
	for _, want := range p.addresses {
		if !slices.Contains(have, want) {
			return fmt.Errorf("interface %q has no address %s; it has %v", name, want, have)
		}
	}
	if len(have) != len(p.addresses) {
		return fmt.Errorf("interface %q has addresses %v; want %v", name, have, p.addresses)
	}
	var routes []route
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := task.Routes(l, family)
		if err != nil {
			return err
		}
		for _, r := range all {
			gateway, ok := netip.AddrFromSlice(r.Gw)
			if !ok {
				return fmt.Errorf("interface %q has route %s without a gateway", name, r.Dst)
			}
			one := route{gateway: gateway.Unmap()}
			if r.Dst != nil {
				dst, _ := netip.AddrFromSlice(r.Dst.IP)
				ones, _ := r.Dst.Mask.Size()
				one.dst = netip.PrefixFrom(dst.Unmap(), ones)
			}
			routes = append(routes, one)
		}
	}
	for _, want := range p.routes {
		if !slices.Contains(routes, want) {
			return fmt.Errorf("interface %q has no route %s via %s", name, want.dst, want.gateway)
		}
	}
	return nil
}
