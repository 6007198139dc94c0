//go:build vlanstandin

package branch

import (
	"github.com/vishvananda/netlink"

	"ecsagent/cni/kernel"
)

// devices, in a program built for tests on a kernel without 802.1Q, are macvlan devices on
// the trunk: all of a branch interface but the tag of its frames.
func devices() vlans { return macvlans{} }

type macvlans struct{}

func (macvlans) Create(host, task *kernel.Space, d device) error {
	a := d.link(task.FD()).LinkAttrs
	return host.LinkAdd(&netlink.Macvlan{LinkAttrs: a, Mode: netlink.MACVLAN_MODE_PRIVATE})
}

func (macvlans) Is(l netlink.Link, _ int) bool { return l.Type() == "macvlan" }
