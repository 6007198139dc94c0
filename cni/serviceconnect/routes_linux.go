package serviceconnect

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ecsagent/cni/kernel"
)

func (f family) number() int {
	if f.ipv6 {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// rule sends what is marked to the routing table of local delivery.
func (f family) rule() *netlink.Rule {
	r := netlink.NewRule()
	r.Mark, r.Table, r.Family = mark, routingTable, f.number()
	return r
}

// local delivers everything to this namespace.
func (f family) local(lo int) *netlink.Route {
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if f.ipv6 {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return &netlink.Route{Dst: ipNet(all), LinkIndex: lo, Table: routingTable, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST}
}

// toProxy leads to the proxy in another namespace.
func (f family) toProxy() *netlink.Route {
	return &netlink.Route{Dst: ipNet(f.vip), Gw: f.via.AsSlice(), Table: unix.RT_TABLE_MAIN}
}

// hasRule reports whether the policy rule is there; the kernel takes a second one.
func (f family) hasRule(task *kernel.Space) (bool, error) {
	rules, err := task.RuleList(f.number())
	if err != nil {
		return false, fmt.Errorf("list policy rules: %w", err)
	}
	for _, r := range rules {
		if r.Mark == mark && r.Table == routingTable {
			return true, nil
		}
	}
	return false, nil
}

// route makes the routes and the policy rule be there, once.
func (f family) route(task *kernel.Space) error {
	if f.via.IsValid() {
		if err := task.RouteReplace(f.toProxy()); err != nil {
			return fmt.Errorf("route %s via the proxy at %s: %w", f.vip, f.via, err)
		}
	}
	if !f.diverts() {
		return nil
	}
	lo, err := task.ByName("lo")
	if err != nil {
		return err
	}
	// A route over an interface that is down is refused.
	if err := task.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	if err := task.RouteAdd(f.local(lo.Attrs().Index)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("deliver what is marked locally: %w", err)
	}
	if has, err := f.hasRule(task); err != nil || has {
		return err
	}
	if err := task.RuleAdd(f.rule()); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("policy rule for mark %d: %w", mark, err)
	}
	return nil
}

// unroute is the inverse of route.
func (f family) unroute(task *kernel.Space) error {
	gone := func(err error) bool {
		return err == nil || errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EADDRNOTAVAIL) || kernel.NoFamily(err)
	}
	var all []error
	if f.via.IsValid() {
		if err := task.RouteDel(f.toProxy()); !gone(err) {
			all = append(all, fmt.Errorf("delete route %s: %w", f.vip, err))
		}
	}
	if !f.diverts() {
		return errors.Join(all...)
	}
	lo, err := task.ByName("lo")
	if err != nil {
		return errors.Join(append(all, err)...)
	}
	if err := task.RouteDel(f.local(lo.Attrs().Index)); !gone(err) {
		all = append(all, fmt.Errorf("delete the route of table %d: %w", routingTable, err))
	}
	for {
		has, err := f.hasRule(task)
		if err != nil || !has {
			return errors.Join(append(all, err)...)
		}
		if err := task.RuleDel(f.rule()); err != nil {
			return errors.Join(append(all, fmt.Errorf("delete the policy rule of mark %d: %w", mark, err))...)
		}
	}
}

// checkRoutes says what of the routes and the policy rule is missing, if something is.
func (f family) checkRoutes(task *kernel.Space) error {
	if f.via.IsValid() {
		routes, err := task.Routes(nil, f.number())
		if err != nil {
			return err
		}
		found := false
		for _, r := range routes {
			gateway, _ := netip.AddrFromSlice(r.Gw)
			found = found || r.Dst != nil && r.Dst.String() == f.vip.String() && gateway.Unmap() == f.via
		}
		if !found {
			return fmt.Errorf("there is no route %s via the proxy at %s", f.vip, f.via)
		}
	}
	if !f.diverts() {
		return nil
	}
	if has, err := f.hasRule(task); err != nil {
		return err
	} else if !has {
		return fmt.Errorf("there is no policy rule for mark %d", mark)
	}
	return nil
}
