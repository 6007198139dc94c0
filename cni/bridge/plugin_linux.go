package bridge

import (
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ecsagent/cni/kernel"
	"ecsagent/cni/plugin"
)

const name = "ecs-bridge"

// Plugin is ecs-bridge.
func Plugin() plugin.Plugin {
	return plugin.Plugin{
		Name: name, Family: plugin.ECS, Capabilities: []string{plugin.AWSVPC},
		Funcs: skel.CNIFuncs{Add: cmdAdd, Del: cmdDel, Check: cmdCheck, Status: delegate("STATUS"), GC: delegate("GC")},
	}
}

func cmdAdd(args *skel.CmdArgs) error {
	result, err := addResult(args)
	if err != nil {
		return err
	}
	c, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	return types.PrintResult(result, c.version)
}

func addResult(args *skel.CmdArgs) (*current.Result, error) {
	c, err := parse(args.StdinData)
	if err != nil {
		return nil, err
	}
	if c.ipam == "" {
		return nil, plugin.Invalid("ipam.type", "", "the plugin that hands out addresses, ecs-ipam")
	}
	host, task, err := kernel.Pair(args.Netns)
	if err != nil {
		return nil, err
	}
	defer host.Close()
	defer task.Close()
	addresses, err := newAllocator(c.ipam, args)
	if err != nil {
		return nil, err
	}
	existing, err := find(host, task, args.IfName)
	if err != nil {
		return nil, err
	}
	result, err := addresses.add()
	if err != nil {
		return nil, err
	}
	pr, br, err := add(host, task, c, result, existing, args.IfName)
	if err != nil {
		// A pair that was there before this call goes with the task's tear-down.
		if existing == nil {
			err = errors.Join(err, addresses.call("DEL"))
		}
		return nil, err
	}
	complete(result, br, pr, args)
	return result, nil
}

// add makes the bridge and the pair, or nothing of the pair.
func add(host, task *kernel.Space, c config, result *current.Result, existing *pair, ifname string) (*pair, netlink.Link, error) {
	p, err := newPlan(result)
	if err != nil {
		return nil, nil, err
	}
	br, err := ensure(host, c, p)
	if err != nil {
		return nil, nil, err
	}
	if existing != nil {
		if existing.outside != nil {
			if err := attach(host, existing.outside, br); err != nil {
				return nil, nil, err
			}
			if existing, err = find(host, task, ifname); err != nil {
				return nil, nil, err
			}
		}
		if existing != nil && existing.check(task, br, p) == nil {
			return existing, br, nil
		}
		// Half made: nothing of it is of use to anybody yet.
		if existing != nil {
			if err := remove(task, existing.inside); err != nil {
				return nil, nil, err
			}
		}
	}
	pr, err := newPair(host, task, c, p, ifname)
	if err != nil {
		return nil, nil, err
	}
	err = attach(host, pr.outside, br)
	if err == nil {
		err = configure(task, pr.inside, p)
	}
	if err != nil {
		return nil, nil, errors.Join(err, remove(task, pr.inside))
	}
	return pr, br, nil
}

func remove(task *kernel.Space, l netlink.Link) error {
	if err := task.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete interface %q: %w", l.Attrs().Name, err)
	}
	return nil
}

// complete adds the interfaces to the addresses and routes.
func complete(r *current.Result, br netlink.Link, pr *pair, args *skel.CmdArgs) {
	r.Interfaces = []*current.Interface{
		{Name: br.Attrs().Name, Mac: br.Attrs().HardwareAddr.String()},
		{Name: pr.outside.Attrs().Name, Mac: pr.outside.Attrs().HardwareAddr.String()},
		{Name: args.IfName, Mac: pr.inside.Attrs().HardwareAddr.String(), Sandbox: args.Netns},
	}
	for _, ip := range r.IPs {
		ip.Interface = current.Int(2)
	}
}

// cmdDel deletes the pair and then gives the address back, so that no other task has it
// too early.
func cmdDel(args *skel.CmdArgs) error {
	c, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	if err := deletePair(args); err != nil {
		return err
	}
	if c.ipam == "" {
		return nil
	}
	addresses, err := newAllocator(c.ipam, args)
	if err != nil {
		return err
	}
	return addresses.call("DEL")
}

func deletePair(args *skel.CmdArgs) error {
	host, task, err := kernel.Pair(args.Netns)
	if kernel.IsGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer host.Close()
	defer task.Close()
	pr, err := find(host, task, args.IfName)
	if err != nil || pr == nil {
		return err
	}
	return remove(task, pr.inside)
}

// cmdCheck compares the kernel with the result of the ADD.
func cmdCheck(args *skel.CmdArgs) error {
	c, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	previous, err := previousResult(args.StdinData)
	if err != nil {
		return err
	}
	host, task, err := kernel.Pair(args.Netns)
	if err != nil {
		return err
	}
	defer host.Close()
	defer task.Close()
	br, err := host.ByName(c.bridge)
	if err != nil {
		return err
	}
	pr, err := find(host, task, args.IfName)
	if err != nil {
		return err
	}
	if pr == nil {
		return fmt.Errorf("%w: %s", kernel.ErrNotFound, args.IfName)
	}
	p, err := newPlan(previous)
	if err != nil {
		return err
	}
	if err := pr.check(task, br, p); err != nil {
		return err
	}
	return delegate("CHECK")(args)
}

func previousResult(data []byte) (*current.Result, error) {
	var conf types.PluginConf
	if err := plugin.Decode(data, &conf); err != nil {
		return nil, err
	}
	if err := version.ParsePrevResult(&conf); err != nil || conf.PrevResult == nil {
		return nil, plugin.Invalid("prevResult", nil, "the result of the ADD")
	}
	return current.NewResultFromResult(conf.PrevResult)
}

// delegate passes a command on to the IPAM plugin.
func delegate(command string) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		c, err := parse(args.StdinData)
		if err != nil || c.ipam == "" {
			return err
		}
		addresses, err := newAllocator(c.ipam, args)
		if err != nil {
			return err
		}
		return addresses.call(command)
	}
}
