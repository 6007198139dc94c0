package serviceconnect

import (
	"errors"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"ecsagent/cni/kernel"
	"ecsagent/cni/plugin"
	"ecsagent/cni/proxyrules"
)

// Plugin is ecs-serviceconnect.
func Plugin() plugin.Plugin {
	return plugin.Plugin{
		Name: "ecs-serviceconnect", Family: plugin.VPC,
		Funcs: skel.CNIFuncs{
			Add: func(args *skel.CmdArgs) error {
				c, err := each(args, add)
				if err != nil {
					return err
				}
				return types.PrintResult(&current.Result{
					CNIVersion: current.ImplementedSpecVersion,
					Interfaces: []*current.Interface{{Name: args.IfName, Sandbox: args.Netns}},
				}, c.version)
			},
			Del: func(args *skel.CmdArgs) error {
				_, err := each(args, del)
				if kernel.IsGone(err) {
					return nil
				}
				return err
			},
			Check: func(args *skel.CmdArgs) error {
				_, err := each(args, check)
				return err
			},
		},
	}
}

// each does something for each family that is enabled.
func each(args *skel.CmdArgs, do func(*kernel.Space, family) error) (config, error) {
	c, err := parse(args.StdinData)
	if err != nil {
		return c, err
	}
	host, task, err := kernel.Pair(args.Netns)
	if err != nil {
		return c, err
	}
	defer host.Close()
	defer task.Close()
	var all []error
	for _, f := range c.families {
		all = append(all, do(task, f))
	}
	return c, errors.Join(all...)
}

// add makes the way before the rules that lead onto it.
func add(task *kernel.Space, f family) error {
	err := f.route(task)
	if err == nil {
		err = install(task, f.set())
	}
	if err != nil {
		return errors.Join(err, del(task, f))
	}
	return nil
}

// install installs a set that is not empty.
func install(task *kernel.Space, s proxyrules.Set) error {
	if len(s.Chains) == 0 {
		return nil
	}
	return proxyrules.Install(task, s)
}

func del(task *kernel.Space, f family) error {
	return errors.Join(proxyrules.Remove(task, f.set()), f.unroute(task))
}

func check(task *kernel.Space, f family) error {
	if s := f.set(); len(s.Chains) > 0 {
		if err := proxyrules.Check(task, s); err != nil {
			return err
		}
	}
	return f.checkRoutes(task)
}
