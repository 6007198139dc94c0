package vpceni

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"

	"ecsagent/cni/eni"
	"ecsagent/cni/kernel"
	"ecsagent/cni/plugin"
)

// Plugin is vpc-eni.
func Plugin() plugin.Plugin { return newPlugin("vpc-eni", plugin.VPC, parse) }

// Legacy is ecs-eni, as agents before 1.76 called it.
func Legacy() plugin.Plugin { return newPlugin("ecs-eni", plugin.ECS, parseLegacy) }

func newPlugin(name string, family plugin.Family, parse func([]byte) (config, error)) plugin.Plugin {
	return plugin.Plugin{
		Name: name, Family: family, Capabilities: []string{plugin.AWSVPC},
		Funcs: skel.CNIFuncs{
			Add: func(args *skel.CmdArgs) error {
				c, version, err := read(args, parse)
				if err != nil {
					return err
				}
				result, err := add(c, args.Netns, args.IfName, family == plugin.ECS)
				if err != nil {
					return err
				}
				return types.PrintResult(result, version)
			},
			Del: func(args *skel.CmdArgs) error {
				c, _, err := read(args, parse)
				if err != nil {
					return err
				}
				return del(c, args.Netns, args.IfName)
			},
			Check: func(args *skel.CmdArgs) error {
				c, _, err := read(args, parse)
				if err != nil {
					return err
				}
				return check(c, args.Netns, args.IfName)
			},
			Status: func(*skel.CmdArgs) error {
				host, err := kernel.Host()
				if err == nil {
					host.Close()
				}
				return err
			},
		},
	}
}

func read(args *skel.CmdArgs, parse func([]byte) (config, error)) (config, string, error) {
	var head types.PluginConf
	if err := plugin.Decode(args.StdinData, &head); err != nil {
		return config{}, "", err
	}
	c, err := parse(args.StdinData)
	return c, head.CNIVersion, err
}

func (c config) want(ifname string) eni.Interface {
	return eni.Interface{Name: ifname, MAC: c.mac, Addresses: c.addresses, Gateways: c.gateways, MTU: c.mtu, BlockMetadata: c.block}
}

func add(c config, netns, ifname string, nameHost bool) (*current.Result, error) {
	host, task, err := kernel.Pair(netns)
	if err != nil {
		return nil, err
	}
	defer host.Close()
	defer task.Close()

	hostName := c.name
	l, err := find(host, c)
	moved := err == nil
	switch {
	case moved:
		hostName = l.Attrs().Name
		if err := eni.Take(host, task, l); err != nil {
			return nil, err
		}
		if l, err = again(task, l); err != nil {
			return nil, err
		}
	case errors.Is(err, kernel.ErrNotFound):
		// An earlier call came as far as the move.
		missing := err
		if l, err = inTask(task, c, ifname); errors.Is(err, kernel.ErrNotFound) {
			return nil, plugin.TryAgain("%v, on the host or in the task: the interface is not attached, or another task has it", missing)
		} else if err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	if !c.down {
		if err := eni.Configure(task, l, c.want(ifname)); err != nil {
			if moved {
				err = errors.Join(err, eni.GiveBack(task, host, l))
			}
			return nil, err
		}
	}
	r := result(c, l, ifname, netns)
	if nameHost && hostName != "" {
		r.Interfaces[0].Name = hostName
	}
	return r, nil
}

// find is the interface on the host.
func find(host *kernel.Space, c config) (netlink.Link, error) {
	if c.name != "" {
		return host.ByName(c.name)
	}
	return host.ByMAC(c.mac)
}

// inTask is the interface in the task's namespace, under whatever name.
func inTask(task *kernel.Space, c config, ifname string) (netlink.Link, error) {
	if c.mac != nil {
		return task.ByMAC(c.mac)
	}
	l, err := task.ByName(ifname)
	if errors.Is(err, kernel.ErrNotFound) {
		return task.ByName(c.name)
	}
	return l, err
}

// again looks up a link that was moved: it may have another index and name.
func again(task *kernel.Space, l netlink.Link) (netlink.Link, error) {
	if n, err := task.ByName(l.Attrs().Name); err == nil && string(n.Attrs().HardwareAddr) == string(l.Attrs().HardwareAddr) {
		return n, nil
	}
	n, err := task.ByMAC(l.Attrs().HardwareAddr)
	if err != nil {
		return nil, fmt.Errorf("look up interface %q after its move into the task: %w", l.Attrs().Name, err)
	}
	return n, nil
}

func result(c config, l netlink.Link, ifname, sandbox string) *current.Result {
	r := &current.Result{
		CNIVersion: current.ImplementedSpecVersion,
		Interfaces: []*current.Interface{{Name: ifname, Mac: l.Attrs().HardwareAddr.String(), Sandbox: sandbox}},
	}
	for _, address := range c.addresses {
		ip := &current.IPConfig{Interface: current.Int(0), Address: plugin.IPNet(address)}
		if gateway, ok := gatewayOf(address, c.gateways); ok {
			ip.Gateway = gateway.AsSlice()
		}
		r.IPs = append(r.IPs, ip)
	}
	return r
}

// gatewayOf is the first gateway of the address's family.
func gatewayOf(address netip.Prefix, gateways []netip.Addr) (netip.Addr, bool) {
	for _, g := range gateways {
		if g.Is4() == address.Addr().Is4() {
			return g, true
		}
	}
	return netip.Addr{}, false
}

func del(c config, netns, ifname string) error {
	host, task, err := kernel.Pair(netns)
	if kernel.IsGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer host.Close()
	defer task.Close()
	l, err := inTask(task, c, ifname)
	if errors.Is(err, kernel.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return eni.GiveBack(task, host, l)
}

func check(c config, netns, ifname string) error {
	host, task, err := kernel.Pair(netns)
	if err != nil {
		return err
	}
	defer host.Close()
	defer task.Close()
	if c.down {
		_, err := inTask(task, c, ifname)
		return err
	}
	return eni.Check(task, c.want(ifname))
}
