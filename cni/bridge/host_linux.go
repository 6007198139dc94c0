package bridge

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ecsagent/cni/eni"
	"ecsagent/cni/kernel"
)

// ensure makes the bridge if there is none, and gives it the tasks' gateways.
func ensure(host *kernel.Space, c config, p plan) (netlink.Link, error) {
	l, err := host.ByName(c.bridge)
	if errors.Is(err, kernel.ErrNotFound) {
		if err := conflict(host, c, p); err != nil {
			return nil, err
		}
		l, err = makeBridge(host, c)
	}
	if err != nil {
		return nil, err
	}
	if l.Type() != "bridge" {
		return nil, fmt.Errorf("interface %q is a %s, not a bridge", c.bridge, l.Type())
	}
	if err := host.LinkSetUp(l); err != nil {
		return nil, fmt.Errorf("set bridge %q up: %w", c.bridge, err)
	}
	return l, gateways(host, l, p)
}

// conflict looks for an interface that has a gateway's address: most likely the bridge
// under another name. A second one would take the tasks' answers away from the first.
func conflict(host *kernel.Space, c config, p plan) error {
	present, err := host.Addresses(nil)
	if err != nil {
		return err
	}
	for _, a := range present {
		for _, gateway := range p.gateways {
			if !net.IP(gateway.AsSlice()).Equal(a.IP) {
				continue
			}
			name := fmt.Sprint(a.LinkIndex)
			if l, err := host.ByIndex(a.LinkIndex); err == nil {
				name = l.Attrs().Name
			}
			if name == c.bridge {
				continue // somebody has made it since
			}
			return fmt.Errorf("there is no bridge %q, but interface %q has its address %s: was the bridge renamed?", c.bridge, name, gateway)
		}
	}
	return nil
}

// makeBridge makes the bridge with an address of its own, which then does not change with
// the ports. Somebody else may be faster.
func makeBridge(host *kernel.Space, c config) (netlink.Link, error) {
	mac := make(net.HardwareAddr, 6)
	_, _ = rand.Read(mac) // never fails
	mac[0] = mac[0]&^1 | 2
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU, a.HardwareAddr = c.bridge, c.mtu, mac
	if err := host.LinkAdd(&netlink.Bridge{LinkAttrs: a}); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make bridge %q: %w", c.bridge, err)
	}
	return host.ByName(c.bridge)
}

// gateways makes sure that the bridge has the gateways' addresses, and no other.
func gateways(host *kernel.Space, l netlink.Link, p plan) error {
	present, err := host.Addresses(l)
	if err != nil {
		return err
	}
	for i, gateway := range p.gateways {
		want := netip.PrefixFrom(gateway, p.addresses[i].Bits())
		found := false
		for _, a := range present {
			ip, _ := netip.AddrFromSlice(a.IP)
			ip = ip.Unmap()
			if ip.Is4() != gateway.Is4() || ip.Is6() && ip.IsLinkLocalUnicast() {
				continue
			}
			if ones, _ := a.Mask.Size(); ip != gateway || ones != want.Bits() {
				return fmt.Errorf("mismatch in bridge %q address: it has %s, and the tasks' gateway is %s", l.Attrs().Name, a.IPNet, want)
			}
			found = true
		}
		if found {
			continue
		}
		if err := eni.AddAddress(host, l, want); err != nil {
			return err
		}
	}
	return nil
}

// attach makes the host's end a port of the bridge that reaches the host and no other
// task, and sets it up.
func attach(host *kernel.Space, end, bridge netlink.Link) error {
	name := end.Attrs().Name
	if end.Attrs().MasterIndex != bridge.Attrs().Index {
		if err := host.LinkSetMasterByIndex(end, bridge.Attrs().Index); err != nil {
			return fmt.Errorf("make %q a port of bridge %q: %w", name, bridge.Attrs().Name, err)
		}
	}
	// Kernels before 4.18 do not isolate ports.
	if err := host.LinkSetIsolated(end, true); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("isolate port %q of bridge %q: %w", name, bridge.Attrs().Name, err)
	}
	if err := host.LinkSetUp(end); err != nil {
		return fmt.Errorf("set interface %q up: %w", name, err)
	}
	return nil
}
