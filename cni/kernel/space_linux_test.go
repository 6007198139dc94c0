package kernel

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func link(name string, index, parent, master, netns int, mac string, bridge bool) netlink.Link {
	hw, _ := net.ParseMAC(mac)
	a := netlink.LinkAttrs{Name: name, Index: index, ParentIndex: parent, MasterIndex: master, NetNsID: netns, HardwareAddr: hw}
	if bridge {
		return &netlink.Bridge{LinkAttrs: a}
	}
	return &netlink.Device{LinkAttrs: a}
}

func TestSelectMAC(t *testing.T) {
	const mac, other = "06:00:00:00:00:01", "06:00:00:00:00:02"
	eni := link("ens6", 5, 0, 0, -1, mac, false)
	for name, c := range map[string]struct {
		all  []netlink.Link
		want string
		err  string
	}{
		"one":                   {all: []netlink.Link{link("lo", 1, 0, 0, -1, "", false), link("ens5", 4, 0, 0, -1, other, false), eni}, want: "ens6"},
		"none":                  {all: []netlink.Link{link("ens5", 4, 0, 0, -1, other, false)}, err: "no such network interface with MAC " + mac},
		"with VLANs":            {all: []netlink.Link{link("v", 6, 5, 0, -1, mac, false), eni, link("w", 7, 5, 0, -1, mac, false)}, want: "ens6"},
		"a member of a bond":    {all: []netlink.Link{link("bond0", 3, 0, 0, -1, mac, false), link("ens6", 5, 0, 3, -1, mac, false)}, want: "bond0"},
		"a port of a bridge":    {all: []netlink.Link{link("br0", 3, 0, 0, -1, mac, true), link("ens6", 5, 0, 3, -1, mac, false)}, want: "ens6"},
		"a peer of the same id": {all: []netlink.Link{link("a", 5, 6, 0, 0, mac, false), link("b", 6, 5, 0, 0, mac, false)}, err: "on 2 network interfaces, a and b"},
	} {
		hw, _ := net.ParseMAC(mac)
		l, err := selectMAC(c.all, hw)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v; want %q", name, err, c.err)
			}
			continue
		}
		if err != nil || l.Attrs().Name != c.want {
			t.Errorf("%s: %v %v", name, l, err)
		}
	}
}

func TestOpen(t *testing.T) {
	file := t.TempDir() + "/empty"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/proc/self/ns/net", "/proc/self/ns/uts", "/proc/999999999/ns/net", "no-such-name", file, "/dev/null"} {
		if s, err := Open(path); !errors.Is(err, ErrGone) {
			t.Errorf("%q: %v, %v", path, s, err)
		}
		if _, _, err := Pair(path); !IsGone(err) {
			t.Errorf("%q: %v", path, err)
		}
	}
}
