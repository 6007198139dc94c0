package vpceni

import (
	"context"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"ecsagent/cni/plugin"
	"ecsagent/cni/vswitch"
	"ecsagent/platform_windows/adapters"
	"ecsagent/platform_windows/hns"
)

// Plugin is vpc-eni.
func Plugin() plugin.Plugin {
	h := vswitch.Host{Switch: hns.Service{}, Adapters: adapters.System{}}
	return plugin.Plugin{
		Name: "vpc-eni", Family: plugin.VPC, Capabilities: []string{plugin.AWSVPC},
		Funcs: skel.CNIFuncs{
			Add: func(args *skel.CmdArgs) error {
				c, to, err := read(args)
				if err != nil {
					return err
				}
				e, err := h.Add(context.Background(), c, to)
				if err != nil {
					return err
				}
				var head types.PluginConf
				if err := plugin.Decode(args.StdinData, &head); err != nil {
					return err
				}
				return types.PrintResult(result(e, args), head.CNIVersion)
			},
			Del: func(args *skel.CmdArgs) error {
				c, to, err := read(args)
				if err != nil {
					return err
				}
				return h.Del(context.Background(), c, to)
			},
			Status: func(*skel.CmdArgs) error {
				_, _, err := h.Switch.Version(context.Background())
				return err
			},
		},
	}
}

func read(args *skel.CmdArgs) (c vswitch.Config, to vswitch.Target, err error) {
	if c, err = vswitch.Parse(args.StdinData); err == nil {
		to, err = vswitch.ParseTarget(args.ContainerID, args.Netns)
	}
	return c, to, err
}

// result is what HNS says of the endpoint.
func result(e vswitch.Endpoint, args *skel.CmdArgs) *current.Result {
	r := &current.Result{
		CNIVersion: current.ImplementedSpecVersion,
		Interfaces: []*current.Interface{{Name: args.IfName, Mac: e.MAC.String(), Sandbox: args.Netns}},
		DNS:        types.DNS{Nameservers: e.DNSServers, Search: e.DNSSearch},
	}
	if e.Address.IsValid() {
		ip := &current.IPConfig{Interface: current.Int(0), Address: plugin.IPNet(e.Address)}
		if e.Gateway.IsValid() {
			ip.Gateway = e.Gateway.AsSlice()
		}
		r.IPs = append(r.IPs, ip)
	}
	return r
}
