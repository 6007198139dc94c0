package windows

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/network"
	"ecsagent/cni/vswitch"
)

// TestChanges: a device that came, one that went, and what a virtual switch makes of one.
func TestChanges(t *testing.T) {
	eni, other := net.HardwareAddr{6, 0x1f, 0x2e, 0x3d, 0x4c, 0x5b}, net.HardwareAddr{6, 0, 0, 0, 0, 1}
	link := func(index int, name string, mac net.HardwareAddr) network.Link {
		return linkOf(vswitch.Adapter{Index: index, Name: name, MAC: mac})
	}
	primary, device, side := link(3, "Ethernet 2", other), link(7, "Ethernet 4", eni), link(9, "vEthernet (Ethernet 4)", eni)
	var filter network.Filter
	if !filter.Candidate(device) || filter.Candidate(side) {
		t.Errorf("%+v, %+v", device, side)
	}
	renamed := device
	renamed.Name = "Ethernet 9"
	for name, c := range map[string]struct {
		before, after []network.Link
		want          []network.Change
	}{
		"came":    {[]network.Link{primary}, []network.Link{primary, device}, []network.Change{{Link: device}}},
		"went":    {[]network.Link{primary, device}, []network.Link{primary}, []network.Change{{Link: device, Gone: true}}},
		"renamed": {[]network.Link{device}, []network.Link{renamed}, nil},
		"switch":  {[]network.Link{device}, []network.Link{device, side}, []network.Change{{Link: side}}},
		"another": {[]network.Link{device}, []network.Link{link(7, "Ethernet 4", other)}, []network.Change{{Link: device, Gone: true}, {Link: link(7, "Ethernet 4", other)}}},
	} {
		if diff := cmp.Diff(c.want, changesOf(c.before, c.after)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
