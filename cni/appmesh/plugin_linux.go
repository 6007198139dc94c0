package appmesh

import (
	"errors"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"ecsagent/cni/kernel"
	"ecsagent/cni/plugin"
	"ecsagent/cni/proxyrules"
)

// Plugin is aws-appmesh.
func Plugin() plugin.Plugin {
	return plugin.Plugin{
		Name: "aws-appmesh", Family: plugin.VPC,
		Funcs: skel.CNIFuncs{
			Add: func(args *skel.CmdArgs) error {
				if err := each(args, proxyrules.Install); err != nil {
					return err
				}
				var head types.PluginConf
				if err := plugin.Decode(args.StdinData, &head); err != nil {
					return err
				}
				if err := version.ParsePrevResult(&head); err != nil {
					return plugin.Invalid("prevResult", head.RawPrevResult, "the result of the plugin before, or nothing")
				}
				if head.PrevResult != nil {
					return types.PrintResult(head.PrevResult, head.CNIVersion)
				}
				return types.PrintResult(&current.Result{CNIVersion: current.ImplementedSpecVersion}, head.CNIVersion)
			},
			Del: func(args *skel.CmdArgs) error {
				err := each(args, proxyrules.Remove)
				if kernel.IsGone(err) {
					return nil
				}
				return err
			},
			Check: func(args *skel.CmdArgs) error { return each(args, proxyrules.Check) },
		},
	}
}

// each does something with the rules of each family.
func each(args *skel.CmdArgs, do func(*kernel.Space, proxyrules.Set) error) error {
	c, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	host, task, err := kernel.Pair(args.Netns)
	if err != nil {
		return err
	}
	defer host.Close()
	defer task.Close()
	var all []error
	for _, s := range c.sets() {
		all = append(all, do(task, s))
	}
	return errors.Join(all...)
}
