package ipam

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// memory is a table without a file.
type memory map[string]string

func (m memory) get(k string) (string, bool) { v, ok := m[k]; return v, ok }
func (m memory) put(k, v string) error       { m[k] = v; return nil }
func (m memory) delete(k string) error       { delete(m, k); return nil }
func (m memory) each(f func(k, v string) bool) error {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !f(k, m[k]) {
			break
		}
	}
	return nil
}

func newFamily(subnet string) family {
	p := netip.MustParsePrefix(subnet)
	return family{subnet: p.Masked(), gateway: p.Addr().Next()}
}

// TestPool: whatever is asked for and given back in whatever order, an address has one
// owner, an owner has one address, and there is one as long as not all are given.
func TestPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFamily(rapid.SampledFrom([]string{"169.254.172.0/22", "169.254.172.0/29", "192.0.2.8/28", "fd00:172::/125", "10.0.0.0/30"}).Draw(t, "subnet"))
		size := 1<<(f.subnet.Addr().BitLen()-f.subnet.Bits()) - 2 // without the network and the gateway
		if f.subnet.Addr().Is4() {
			size-- // and without the broadcast address
		}
		m, owned := memory{}, map[string]netip.Addr{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			owner := fmt.Sprintf("06:00:00:00:00:%02x", rapid.IntRange(0, 12).Draw(t, "owner"))
			if rapid.Bool().Draw(t, "release") {
				if err := f.release(m, owner); err != nil {
					t.Fatal(err)
				}
				delete(owned, owner)
				continue
			}
			a, err := f.allocate(m, owner)
			had, again := owned[owner]
			switch {
			case err != nil && (again || len(owned) < size):
				t.Fatalf("%d of %d given: %v", len(owned), size, err)
			case err != nil:
				if !strings.Contains(err.Error(), "failed to find available ip addresses in the subnet") {
					t.Fatal(err)
				}
			case again && a != had:
				t.Fatalf("%s had %s and got %s", owner, had, a)
			case !f.usable(a) || a == f.gateway:
				t.Fatalf("gave %s", a)
			default:
				owned[owner] = a
			}
			seen := map[netip.Addr]bool{}
			for o, a := range owned {
				if seen[a] {
					t.Fatalf("%s was given twice", a)
				}
				seen[a] = true
				if m[key(a)] != o {
					t.Fatalf("the table says %q of %s; want %q", m[key(a)], a, o)
				}
			}
		}
	})
}

func TestOrder(t *testing.T) {
	f := newFamily("169.254.172.0/29")
	m := memory{}
	give := func(owner string) string {
		t.Helper()
		a, err := f.allocate(m, owner)
		if err != nil {
			t.Fatal(err)
		}
		return a.String()
	}
	for i, want := range []string{"169.254.172.2", "169.254.172.3", "169.254.172.4", "169.254.172.5", "169.254.172.6"} {
		if got := give(fmt.Sprint("t", i)); got != want {
			t.Errorf("got %s; want %s", got, want)
		}
	}
	if _, err := f.allocate(m, "one too many"); err == nil || !strings.Contains(err.Error(), "169.254.172.0/29") {
		t.Error(err)
	}
	// The search starts behind the one released last.
	for _, o := range []string{"t0", "t3", "t2"} {
		if err := f.release(m, o); err != nil {
			t.Fatal(err)
		}
	}
	if got := []string{give("a"), give("b"), give("c")}; !slices.Equal(got, []string{"169.254.172.5", "169.254.172.2", "169.254.172.4"}) {
		t.Errorf("after release: %v", got)
	}
	// A last one of another subnet does not count.
	m = memory{lastV4: "10.1.2.3"}
	if got := give("x"); got != "169.254.172.2" {
		t.Errorf("got %s", got)
	}
}

func TestFixed(t *testing.T) {
	f := newFamily("169.254.172.0/22")
	f.fixed = netip.MustParseAddr("169.254.172.42")
	m := memory{}
	for range 2 {
		if a, err := f.allocate(m, "one"); err != nil || a != f.fixed {
			t.Fatalf("%v %v", a, err)
		}
	}
	if _, err := f.allocate(m, "two"); err == nil || err.Error() != `address 169.254.172.42 is already taken, by "one"` {
		t.Error(err)
	}
	if err := f.release(m, "two"); err != nil || m["169.254.172.42"] != "one" {
		t.Errorf("%v: released by another", err)
	}
	if err := f.release(m, ""); err != nil || m["169.254.172.42"] != "" {
		t.Errorf("%v: not released by address", err)
	}
	m["169.254.172.1"] = "somebody"
	if _, err := f.allocate(m, "one"); err == nil || !strings.Contains(err.Error(), "gateway's address 169.254.172.1 is already taken") {
		t.Error(err)
	}
}

func TestStale(t *testing.T) {
	m := memory{"169.254.172.1": gatewayV4, "169.254.172.2": "valid", "169.254.172.3": "ended", "169.254.172.4": "unrecorded",
		"169.254.172.5": "unrecorded and unseen", "10.0.0.5": "of another subnet", lastV4: "169.254.172.5"}
	recorded := func(owner string) (string, bool) {
		at, ok := map[string]string{"valid": "c1/ecs-eth0", "ended": "c2/ecs-eth0"}[owner]
		return at, ok
	}
	got := stale(m, []family{newFamily("169.254.172.0/22")}, recorded, map[string]bool{"c1/ecs-eth0": true}, map[string]string{"169.254.172.4": "x"})
	if !slices.Equal(got, []string{"169.254.172.3", "169.254.172.5"}) {
		t.Error(got)
	}
}
