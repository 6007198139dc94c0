package nettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ecsagent/cni/eni"
	"ecsagent/cni/kernel"
)

// NeedRoot skips a test that may not make namespaces.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
}

// Namespace is a network namespace of a test.
type Namespace struct {
	*kernel.Space
	t    testing.TB
	file *os.File
}

// New makes a namespace. It has no name in the file system: it lives by the file
// descriptor that the test process has.
func New(t testing.TB) *Namespace {
	t.Helper()
	NeedRoot(t)
	type made struct {
		f   *os.File
		err error
	}
	done := make(chan made)
	go func() {
		// The thread is not unlocked, so that it ends with the goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- made{nil, fmt.Errorf("unshare: %w", err)}
			return
		}
		f, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		done <- made{f, err}
	}()
	m := <-done
	if m.err != nil {
		t.Fatal(m.err)
	}
	n := &Namespace{t: t, file: m.f}
	var err error
	if n.Space, err = kernel.Open(n.Path()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Destroy)
	lo := n.Link("lo")
	if err := n.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	return n
}

// Destroy ends the namespace, unless somebody else has it open.
func (n *Namespace) Destroy() {
	if n.file != nil {
		n.Space.Close()
		n.file.Close()
		n.file = nil
	}
}

// Path is what CNI_NETNS holds. Other processes can open it too.
func (n *Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// Link finds a link, or ends the test.
func (n *Namespace) Link(name string) netlink.Link {
	n.t.Helper()
	l, err := n.ByName(name)
	if err != nil {
		n.t.Fatal(err)
	}
	return l
}

// Names are the names of all links but lo.
func (n *Namespace) Names() []string {
	n.t.Helper()
	all, err := n.Links()
	if err != nil {
		n.t.Fatal(err)
	}
	var names []string
	for _, l := range all {
		if l.Attrs().Name != "lo" {
			names = append(names, l.Attrs().Name)
		}
	}
	return names
}

// Has reports whether there is a link.
func (n *Namespace) Has(name string) bool {
	_, err := n.ByName(name)
	return err == nil
}

// Main is the main routing table, one route a text, as far as the plugins care.
func (n *Namespace) Main(family int) []string {
	n.t.Helper()
	routes, err := n.Routes(nil, family)
	if err != nil {
		n.t.Fatal(err)
	}
	links, err := n.Links()
	if err != nil {
		n.t.Fatal(err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	var all []string
	for _, r := range routes {
		text := "default"
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones > 0 {
				text = r.Dst.String()
			}
		}
		if r.Type == unix.RTN_BLACKHOLE {
			all = append(all, "blackhole "+text)
			continue
		}
		if r.Gw != nil {
			text += " via " + r.Gw.String()
		}
		all = append(all, text+" dev "+names[r.LinkIndex])
	}
	return all
}

// VPC is a router with a subnet on a bridge, the instance metadata service and whatever
// else is behind it.
type VPC struct {
	*Namespace
	bridge netlink.Link
	last   int
}

// The subnet of a VPC.
const (
	Gateway4  = "10.20.1.1"
	Gateway6  = "2001:db8:20:1::1"
	Metadata4 = "169.254.169.254"
	Metadata6 = "fd00:ec2::254"
)

// NewVPC makes a VPC.
func NewVPC(t testing.TB) *VPC {
	t.Helper()
	v := &VPC{Namespace: New(t)}
	a := netlink.NewLinkAttrs()
	a.Name = "vpcbr"
	if err := v.LinkAdd(&netlink.Bridge{LinkAttrs: a}); err != nil {
		t.Fatal(err)
	}
	v.bridge = v.Link("vpcbr")
	v.Assign("vpcbr", Gateway4+"/24", Gateway6+"/64")
	v.Assign("lo", Metadata4+"/32", Metadata6+"/128")
	return v
}

// Assign sets a link up and gives it addresses.
func (n *Namespace) Assign(name string, addresses ...string) {
	n.t.Helper()
	l := n.Link(name)
	if err := n.LinkSetUp(l); err != nil {
		n.t.Fatal(err)
	}
	for _, a := range addresses {
		if err := eni.AddAddress(n.Space, l, netip.MustParsePrefix(a)); err != nil {
			n.t.Fatal(err)
		}
	}
}

// Attach plays EC2: a new device with a MAC appears on a host. It returns the name of
// the other end, in the VPC; deleting that detaches the interface.
func (v *VPC) Attach(host *Namespace, name, mac string) string {
	v.t.Helper()
	v.last++
	hw, err := net.ParseMAC(mac)
	if err != nil {
		v.t.Fatal(err)
	}
	a := netlink.NewLinkAttrs()
	a.Name, a.HardwareAddr, a.MTU = name, hw, 9001
	peer := fmt.Sprintf("v%d", v.last)
	pair := &netlink.Veth{LinkAttrs: a, PeerName: peer, PeerNamespace: netlink.NsFd(v.FD())}
	if err := host.LinkAdd(pair); err != nil {
		v.t.Fatal(err)
	}
	end := v.Link(peer)
	if err := errors.Join(v.LinkSetMasterByIndex(end, v.bridge.Attrs().Index), v.LinkSetUp(end)); err != nil {
		v.t.Fatal(err)
	}
	return peer
}

// Detach plays EC2 too.
func (v *VPC) Detach(peer string) {
	v.t.Helper()
	if err := v.LinkDel(v.Link(peer)); err != nil {
		v.t.Fatal(err)
	}
}

// Serve answers TCP connections with the address that they come from, a space and the
// address that they came to.
func (n *Namespace) Serve(address string) {
	n.t.Helper()
	var l net.Listener
	err := n.Do(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.serve(l)
}

func (n *Namespace) serve(l net.Listener) {
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(c, "%s %s", c.RemoteAddr(), c.LocalAddr())
			c.Close()
		}
	})
	n.t.Cleanup(func() {
		l.Close()
		wait.Wait()
	})
}

// Transparent is Serve for packets that are for other addresses.
func (n *Namespace) Transparent(address string) {
	n.t.Helper()
	var l net.Listener
	err := n.Do(func() error {
		a, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "listener")
		defer f.Close()
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1),
			unix.Bind(fd, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}), unix.Listen(fd, 10))
		if err == nil {
			l, err = net.FileListener(f)
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.serve(l)
}

// Dial connects and returns the two addresses that the server saw.
func (n *Namespace) Dial(address string) (from, to netip.AddrPort, err error) {
	// A packet that nobody answers takes the whole time.
	const patience = 2 * time.Second
	var text []byte
	err = n.Do(func() error {
		d := net.Dialer{Timeout: patience}
		c, err := d.DialContext(context.Background(), "tcp", address)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		// Nothing of the connection stays: one that waits for a last acknowledgement keeps
		// its namespace for minutes when the interface is taken away meanwhile.
		_ = c.(*net.TCPConn).SetLinger(0)
		text, err = io.ReadAll(c)
		return err
	})
	if err == nil {
		var f, t string
		if _, err = fmt.Sscan(string(text), &f, &t); err == nil {
			from, err = netip.ParseAddrPort(f)
		}
		if err == nil {
			to, err = netip.ParseAddrPort(t)
		}
	}
	return from, to, err
}

// Eventually waits for the kernel to do what it does in the background: it destroys a
// namespace some time after the last reference to it is gone, and tells nobody.
func Eventually(t testing.TB, check func() error) {
	t.Helper()
	const patience = time.Minute
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %s: %v", patience, err)
		}
		<-tick.C
	}
}
