package eni

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ecsagent/cni/kernel"
)

// Configure gives a link of the task's namespace the shape of i, whatever state an
// earlier, interrupted call left it in. Metadata is blocked before the link is up, so
// that there is no moment in which it could be reached.
func Configure(task *kernel.Space, l netlink.Link, i Interface) error {
	steps := []func(*kernel.Space, netlink.Link, Interface) error{rename, block, assign, setMTU, up, routes}
	for _, step := range steps {
		if err := step(task, l, i); err != nil {
			return err
		}
	}
	return nil
}

func rename(task *kernel.Space, l netlink.Link, i Interface) error {
	old := l.Attrs().Name
	if old == i.Name {
		return nil
	}
	if other, err := task.ByName(i.Name); err == nil {
		return fmt.Errorf("the namespace already has an interface %q, with MAC %s, where %s has to go",
			i.Name, other.Attrs().HardwareAddr, i.MAC)
	} else if !errors.Is(err, kernel.ErrNotFound) {
		return err
	}
	if err := task.LinkSetDown(l); err != nil {
		return fmt.Errorf("set interface %q down: %w", old, err)
	}
	if err := task.LinkSetName(l, i.Name); err != nil {
		return fmt.Errorf("rename interface %q to %q: %w", old, i.Name, err)
	}
	l.Attrs().Name = i.Name
	return nil
}

func blackhole(dst netip.Prefix) *netlink.Route {
	n := prefix(dst)
	return &netlink.Route{Dst: &n, Type: unix.RTN_BLACKHOLE, Table: unix.RT_TABLE_MAIN}
}

func block(task *kernel.Space, _ netlink.Link, i Interface) error {
	for _, dst := range Metadata() {
		r := blackhole(dst)
		if i.BlockMetadata {
			err := task.RouteAdd(r)
			// Without IPv6 in the kernel there is nothing to block.
			if err != nil && !errors.Is(err, fs.ErrExist) && (dst.Addr().Is4() || !kernel.NoFamily(err)) {
				return fmt.Errorf("block instance metadata at %s: %w", dst, err)
			}
			continue
		}
		if err := task.RouteDel(r); err != nil && !errors.Is(err, unix.ESRCH) && !kernel.NoFamily(err) {
			return fmt.Errorf("unblock instance metadata at %s: %w", dst, err)
		}
	}
	return nil
}

// permanent lists the addresses that somebody assigned: not link-local ones, and not
// those that came from router advertisements.
func permanent(task *kernel.Space, l netlink.Link) ([]netlink.Addr, error) {
	all, err := task.Addresses(l)
	return slices.DeleteFunc(all, func(a netlink.Addr) bool {
		return a.Flags&unix.IFA_F_PERMANENT == 0 || a.IP.IsLinkLocalUnicast() && a.IP.To4() == nil
	}), err
}

func assign(task *kernel.Space, l netlink.Link, i Interface) error {
	present, err := permanent(task, l)
	if err != nil {
		return err
	}
	for _, a := range present {
		if !slices.Contains(i.Addresses, netipPrefix(a)) {
			if err := task.AddrDel(l, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return fmt.Errorf("remove address %s from %q: %w", a.IPNet, i.Name, err)
			}
		}
	}
	for _, want := range i.Addresses {
		if slices.ContainsFunc(present, func(a netlink.Addr) bool { return netipPrefix(a) == want }) {
			continue
		}
		if err := AddAddress(task, l, want); err != nil {
			return err
		}
	}
	return nil
}

// AddAddress assigns an address. An IPv6 address is used at once: ECS owns it, so that
// nobody else in the subnet can have it and waiting for a duplicate is time lost.
func AddAddress(s *kernel.Space, l netlink.Link, address netip.Prefix) error {
	n := prefix(address)
	a := &netlink.Addr{IPNet: &n}
	if address.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	err := s.AddrAdd(l, a)
	switch {
	case err == nil || errors.Is(err, fs.ErrExist):
		return nil
	case address.Addr().Is6() && (errors.Is(err, unix.EACCES) || kernel.NoFamily(err)):
		return fmt.Errorf("assign address %s to %q: IPv6 is switched off in the namespace (net.ipv6.conf.all.disable_ipv6): %w",
			address, l.Attrs().Name, err)
	}
	return fmt.Errorf("assign address %s to %q: %w", address, l.Attrs().Name, err)
}

func setMTU(task *kernel.Space, l netlink.Link, i Interface) error {
	if i.MTU == 0 || i.MTU == l.Attrs().MTU {
		return nil
	}
	if err := task.LinkSetMTU(l, i.MTU); err != nil {
		return fmt.Errorf("set the MTU of %q to %d: %w", i.Name, i.MTU, err)
	}
	return nil
}

func up(task *kernel.Space, l netlink.Link, i Interface) error {
	if err := task.LinkSetUp(l); err != nil {
		return fmt.Errorf("set interface %q up: %w", i.Name, err)
	}
	return nil
}

// own lists the routes of the link that somebody set: not the kernel's, and not those
// from router advertisements.
func own(task *kernel.Space, l netlink.Link, family int) ([]netlink.Route, error) {
	all, err := task.Routes(l, family)
	return slices.DeleteFunc(all, func(r netlink.Route) bool {
		return r.Protocol == unix.RTPROT_KERNEL || r.Protocol == unix.RTPROT_RA
	}), err
}

func routes(task *kernel.Space, l netlink.Link, i Interface) error {
	present := map[netip.Addr]bool{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := own(task, l, family)
		if err != nil {
			return err
		}
		for _, r := range all {
			if gateway, ok := netip.AddrFromSlice(r.Gw); ok && isDefault(r) && slices.Contains(i.Gateways, gateway.Unmap()) {
				present[gateway.Unmap()] = true
				continue
			}
			if err := task.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("remove route %s from %q: %w", r, i.Name, err)
			}
		}
	}
	for _, gateway := range i.Gateways {
		if present[gateway] {
			continue
		}
		if err := addDefault(task, l, gateway, i); err != nil {
			return err
		}
	}
	return nil
}

func addDefault(task *kernel.Space, l netlink.Link, gateway netip.Addr, i Interface) error {
	everything := prefix(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	if gateway.Is6() {
		everything = prefix(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	err := task.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: &everything, Gw: gateway.AsSlice(), Table: unix.RT_TABLE_MAIN})
	switch {
	case err == nil || errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH):
		return fmt.Errorf("default route via %s: the gateway is in the subnet of none of the addresses %v: %w", gateway, i.Addresses, err)
	}
	return fmt.Errorf("default route via %s on %q: %w", gateway, i.Name, err)
}
