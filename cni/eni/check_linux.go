package eni

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ecsagent/cni/kernel"
)

// Check says how the task's namespace differs from i, if it does.
func Check(task *kernel.Space, i Interface) error {
	l, err := task.ByName(i.Name)
	if err != nil {
		return err
	}
	a := l.Attrs()
	if len(i.MAC) > 0 && a.HardwareAddr.String() != i.MAC.String() {
		return fmt.Errorf("interface %q has MAC %s, not %s", i.Name, a.HardwareAddr, i.MAC)
	}
	if a.Flags&net.FlagUp == 0 {
		return fmt.Errorf("interface %q is down", i.Name)
	}
	if i.MTU != 0 && a.MTU != i.MTU {
		return fmt.Errorf("interface %q has MTU %d, not %d", i.Name, a.MTU, i.MTU)
	}
	if err := checkAddresses(task, l, i); err != nil {
		return err
	}
	return checkRoutes(task, l, i)
}

func checkAddresses(task *kernel.Space, l netlink.Link, i Interface) error {
	present, err := permanent(task, l)
	if err != nil {
		return err
	}
	var have []netip.Prefix
	for _, p := range present {
		have = append(have, netipPrefix(p))
	}
	for _, want := range i.Addresses {
		if !slices.Contains(have, want) {
			return fmt.Errorf("interface %q has no address %s; it has %v", i.Name, want, have)
		}
	}
	return nil
}

func checkRoutes(task *kernel.Space, l netlink.Link, i Interface) error {
	var gateways []netip.Addr
	var blocked []netip.Prefix
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := task.Routes(nil, family)
		if err != nil {
			return err
		}
		for _, r := range all {
			if gateway, ok := netip.AddrFromSlice(r.Gw); ok && isDefault(r) && r.LinkIndex == l.Attrs().Index {
				gateways = append(gateways, gateway.Unmap())
			}
			if r.Type == unix.RTN_BLACKHOLE && r.Dst != nil {
				blocked = append(blocked, fromIPNet(*r.Dst))
			}
		}
	}
	for _, want := range i.Gateways {
		if !slices.Contains(gateways, want) {
			return fmt.Errorf("interface %q has no default route via %s", i.Name, want)
		}
	}
	if !i.BlockMetadata {
		return nil
	}
	for _, want := range Metadata() {
		if want.Addr().Is4() && !slices.Contains(blocked, want) {
			return fmt.Errorf("instance metadata at %s is not blocked", want)
		}
	}
	return nil
}

func isDefault(r netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0 && r.Dst.IP.IsUnspecified()
}

func prefix(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func netipPrefix(a netlink.Addr) netip.Prefix { return fromIPNet(*a.IPNet) }

func fromIPNet(n net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones)
}
