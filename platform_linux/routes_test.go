package linux

import (
	"slices"
	"testing"
	"testing/fstest"
)

const (
	routes4 = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth1	00000000	0100000A	0003	0	0	200	00000000	0	0	0
eth0	00000000	0100A8C0	0003	0	0	100	00000000	0	0	0
tun0	00000000	00000000	0001	0	0	1	00000000	0	0	0
down	00000000	0100A8C0	0002	0	0	1	00000000	0	0	0
eth0	0000A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
`
	routes6 = `00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth2
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
`
)

func TestDefaultDevices(t *testing.T) {
	for name, c := range map[string]struct {
		four, six string
		want      []string
	}{
		"both":      {routes4, routes6, []string{"eth0", "eth2"}},
		"IPv4":      {routes4, "", []string{"eth0"}},
		"IPv6":      {"Iface\n", routes6, []string{"eth2"}},
		"none":      {"Iface\n", "", nil},
		"same":      {routes4, "00000000000000000000000000000000 00 0 00 fe80 00000400 1 0 00000003 eth0\n", []string{"eth0"}},
		"malformed": {"a b c\nx 00000000 y zz 0 0 q 00000000\n", "00\n", nil},
	} {
		root := fstest.MapFS{"proc/net/route": {Data: []byte(c.four)}}
		if c.six != "" {
			root["proc/net/ipv6_route"] = &fstest.MapFile{Data: []byte(c.six)}
		}
		if got, err := DefaultDevices(root); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		}
	}
	if _, err := DefaultDevices(fstest.MapFS{}); err == nil {
		t.Error("a host whose routes cannot be read has no error")
	}
}
