package branch

import (
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ecsagent/cni/eni"
	"ecsagent/cni/kernel"
	"ecsagent/cni/plugin"
)

// Plugin is vpc-branch-eni.
func Plugin() plugin.Plugin {
	run := func(f func(*call) error) func(*skel.CmdArgs) error {
		return func(args *skel.CmdArgs) error {
			c, err := parse(args.StdinData, args.Args)
			if err != nil {
				return err
			}
			return f(&call{config: c, netns: args.Netns, ifname: args.IfName, kernel: devices()})
		}
	}
	return plugin.Plugin{
		Name: "vpc-branch-eni", Family: plugin.VPC, Capabilities: []string{plugin.AWSVPC},
		Funcs: skel.CNIFuncs{
			Add: func(args *skel.CmdArgs) error {
				return run(func(c *call) error {
					result, err := c.add()
					if err != nil {
						return err
					}
					var head types.PluginConf
					if err := plugin.Decode(args.StdinData, &head); err != nil {
						return err
					}
					return types.PrintResult(result, head.CNIVersion)
				})(args)
			},
			Del:   run((*call).del),
			Check: run((*call).check),
		},
	}
}

// vlans is what the kernel does with VLAN devices.
type vlans interface {
	// Create makes the device in the task's namespace.
	Create(host, task *kernel.Space, d device) error
	// Is reports whether a link is a VLAN device with an id.
	Is(l netlink.Link, id int) bool
}

type device struct {
	name  string
	trunk int
	mac   net.HardwareAddr
	id    int
	mtu   int
}

type vlanDevices struct{}

func (vlanDevices) Create(host, task *kernel.Space, d device) error {
	return host.LinkAdd(d.link(task.FD()))
}

// link is the request to the kernel: the parent is looked up on the host, the device is
// made in the namespace.
func (d device) link(namespace int) *netlink.Vlan {
	a := netlink.NewLinkAttrs()
	a.Name, a.ParentIndex, a.HardwareAddr, a.MTU = d.name, d.trunk, d.mac, d.mtu
	a.Namespace = netlink.NsFd(namespace)
	return &netlink.Vlan{LinkAttrs: a, VlanId: d.id, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
}

func (vlanDevices) Is(l netlink.Link, id int) bool {
	v, ok := l.(*netlink.Vlan)
	return ok && v.VlanId == id
}

type call struct {
	config
	netns, ifname string
	kernel        vlans
}

func (c *call) want() eni.Interface {
	return eni.Interface{Name: c.ifname, MAC: c.mac, Addresses: c.addresses, Gateways: c.gateways, BlockMetadata: c.block}
}

func (c *call) add() (*current.Result, error) {
	host, task, err := kernel.Pair(c.netns)
	if err != nil {
		return nil, err
	}
	defer host.Close()
	defer task.Close()
	trunk, err := c.trunk(host)
	if err != nil {
		return nil, err
	}
	if err := host.LinkSetUp(trunk); err != nil {
		return nil, fmt.Errorf("set trunk %q up: %w", trunk.Attrs().Name, err)
	}
	l, err := c.inTask(task)
	made := errors.Is(err, kernel.ErrNotFound)
	if made {
		l, err = c.create(host, task, trunk)
	}
	if err != nil {
		return nil, err
	}
	if err := eni.Configure(task, l, c.want()); err != nil {
		if made {
			err = errors.Join(err, remove(task, l))
		}
		return nil, err
	}
	return &current.Result{
		CNIVersion: current.ImplementedSpecVersion,
		Interfaces: []*current.Interface{{Name: c.ifname, Mac: c.mac.String(), Sandbox: c.netns}},
	}, nil
}

// trunk is the instance's trunk interface, which stays on the host.
func (c *call) trunk(host *kernel.Space) (netlink.Link, error) {
	var l netlink.Link
	var err error
	if c.trunkName != "" {
		l, err = host.ByName(c.trunkName)
	} else {
		l, err = host.ByMAC(c.trunkMAC)
	}
	if errors.Is(err, kernel.ErrNotFound) {
		return nil, plugin.TryAgain("trunk interface: %v", err)
	}
	return l, err
}

// inTask is the branch's device in the task, under whatever name.
func (c *call) inTask(task *kernel.Space) (netlink.Link, error) {
	all, err := task.Links()
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		if string(l.Attrs().HardwareAddr) == string(c.mac) && c.kernel.Is(l, c.vlan) {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%w with MAC %s and VLAN %d", kernel.ErrNotFound, c.mac, c.vlan)
}

func (c *call) create(host, task *kernel.Space, trunk netlink.Link) (netlink.Link, error) {
	name := deviceName(trunk.Attrs().Name, c.vlan)
	// The official plugin makes the device on the host first; one of its interrupted
	// calls may have left it there.
	if l, err := host.ByName(name); err == nil && string(l.Attrs().HardwareAddr) == string(c.mac) && c.kernel.Is(l, c.vlan) {
		if err := eni.Take(host, task, l); err != nil {
			return nil, err
		}
		return c.inTask(task)
	}
	err := c.kernel.Create(host, task, device{name: name, trunk: trunk.Attrs().Index, mac: c.mac, id: c.vlan, mtu: trunk.Attrs().MTU})
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("VLAN %d of trunk %q, or an interface %q, is in use by another task: %w", c.vlan, trunk.Attrs().Name, name, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return nil, fmt.Errorf("make VLAN %d on trunk %q: the kernel has no 802.1Q support (module 8021q): %w", c.vlan, trunk.Attrs().Name, err)
	case err != nil:
		return nil, fmt.Errorf("make VLAN %d on trunk %q: %w", c.vlan, trunk.Attrs().Name, err)
	}
	return c.inTask(task)
}

func remove(s *kernel.Space, l netlink.Link) error {
	err := s.LinkDel(l)
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete interface %q: %w", l.Attrs().Name, err)
	}
	return nil
}

// del deletes the branch's device. It never deletes another kind of interface.
func (c *call) del() error {
	host, task, err := kernel.Pair(c.netns)
	if kernel.IsGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer host.Close()
	defer task.Close()
	l, err := c.inTask(task)
	if errors.Is(err, kernel.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return remove(task, l)
}

func (c *call) check() error {
	host, task, err := kernel.Pair(c.netns)
	if err != nil {
		return err
	}
	defer host.Close()
	defer task.Close()
	if _, err := c.inTask(task); err != nil {
		return err
	}
	return eni.Check(task, c.want())
}
