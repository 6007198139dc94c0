package ipam

import (
	"fmt"
	"net/netip"
)

// table is what is given, by the keys of the database.
type table interface {
	get(key string) (string, bool)
	put(key, value string) error
	delete(key string) error
	// each calls f with every entry until f returns false.
	each(f func(key, value string) bool) error
}

// What the keys and values of the database are (docs/spec/05 section 4.10).
const (
	gatewayV4 = "GateWay"
	gatewayV6 = "GateWayV6"
	lastV4    = "lastKnownIP"
	lastV6    = "lastKnownIPv6"
)

// key is an address as the database knows it.
func key(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return "6" + a.String()
}

// address is the inverse of key.
func address(key string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(key); err == nil && a.Is4() {
		return a, true
	}
	if len(key) > 1 && key[0] == '6' {
		if a, err := netip.ParseAddr(key[1:]); err == nil && a.Is6() && key == "6"+a.String() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func (f family) marker() string {
	if f.subnet.Addr().Is4() {
		return gatewayV4
	}
	return gatewayV6
}

func (f family) lastKey() string {
	if f.subnet.Addr().Is4() {
		return lastV4
	}
	return lastV6
}

// allocate gives owner an address of the family: the one it has, or the fixed one, or
// the next free one after the address that was given or released last.
func (f family) allocate(t table, owner string) (netip.Addr, error) {
	if err := f.reserveGateway(t); err != nil {
		return netip.Addr{}, err
	}
	had, ok, err := f.owned(t, owner)
	if err != nil {
		return netip.Addr{}, err
	}
	switch {
	case ok && (!f.fixed.IsValid() || f.fixed == had):
		return had, nil
	case ok:
		return netip.Addr{}, fmt.Errorf("%q already has address %s and cannot have %s too", owner, had, f.fixed)
	case f.fixed.IsValid():
		if other, taken := t.get(key(f.fixed)); taken {
			return netip.Addr{}, fmt.Errorf("address %s is already taken, by %q", f.fixed, other)
		}
		return f.fixed, f.give(t, f.fixed, owner)
	}
	free, err := f.next(t)
	if err != nil {
		return netip.Addr{}, err
	}
	return free, f.give(t, free, owner)
}

func (f family) give(t table, a netip.Addr, owner string) error {
	if err := t.put(key(a), owner); err != nil {
		return err
	}
	return t.put(f.lastKey(), a.String())
}

func (f family) reserveGateway(t table) error {
	switch owner, taken := t.get(key(f.gateway)); {
	case !taken:
		return t.put(key(f.gateway), f.marker())
	case owner == gatewayV4 || owner == gatewayV6:
		return nil
	default:
		return fmt.Errorf("the gateway's address %s is already taken, by %q", f.gateway, owner)
	}
}

// next is the first free address after the last one given or released.
func (f family) next(t table) (netip.Addr, error) {
	start := f.subnet.Addr()
	if text, ok := t.get(f.lastKey()); ok {
		if last, err := netip.ParseAddr(text); err == nil && f.subnet.Contains(last) {
			start = last
		}
	}
	for a := f.after(start); ; a = f.after(a) {
		if f.usable(a) {
			if _, taken := t.get(key(a)); !taken {
				return a, nil
			}
		}
		if a == start {
			return netip.Addr{}, fmt.Errorf("failed to find available ip addresses in the subnet %s: all are given to tasks", f.subnet)
		}
	}
}

// after is the next address of the subnet, and after its last one its first.
func (f family) after(a netip.Addr) netip.Addr {
	if n := a.Next(); n.IsValid() && f.subnet.Contains(n) {
		return n
	}
	return f.subnet.Addr()
}

// owned is the address of the family that owner has.
func (f family) owned(t table, owner string) (found netip.Addr, ok bool, err error) {
	err = t.each(func(k, v string) bool {
		a, is := address(k)
		if !is || v != owner || !f.subnet.Contains(a) {
			return true
		}
		found, ok = a, true
		return false
	})
	return found, ok, err
}

// release takes back the fixed address, if owner is empty or has it, or whatever owner
// has. Nothing to take back is fine.
func (f family) release(t table, owner string) error {
	a, ok := f.fixed, false
	if f.fixed.IsValid() {
		var has string
		has, ok = t.get(key(f.fixed))
		ok = ok && (owner == "" || has == owner)
	}
	if !ok && owner != "" {
		var err error
		if a, ok, err = f.owned(t, owner); err != nil {
			return err
		}
	}
	if !ok {
		return nil
	}
	if err := t.delete(key(a)); err != nil {
		return err
	}
	return t.put(f.lastKey(), a.String())
}

// free reports whether the family has an address left.
func (f family) free(t table) error {
	if f.fixed.IsValid() {
		return nil
	}
	_, err := f.next(t)
	return err
}

// stale lists the keys of addresses that belong to nobody any more: of a recorded
// attachment that is not valid, or unrecorded and seen in no namespace.
func stale(t table, families []family, recorded func(owner string) (string, bool), valid map[string]bool, seen map[string]string) []string {
	var keys []string
	_ = t.each(func(k, owner string) bool {
		a, is := address(k)
		if !is || owner == gatewayV4 || owner == gatewayV6 || !within(families, a) {
			return true
		}
		if at, ok := recorded(owner); ok {
			if !valid[at] {
				keys = append(keys, k)
			}
			return true
		}
		if _, used := seen[k]; !used {
			keys = append(keys, k)
		}
		return true
	})
	return keys
}

func within(families []family, a netip.Addr) bool {
	for _, f := range families {
		if f.subnet.Contains(a) {
			return true
		}
	}
	return false
}
