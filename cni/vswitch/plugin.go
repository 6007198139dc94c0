package vswitch

import (
	"context"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"ecsagent/cni/plugin"
)

// Plugin is vpc-eni on a host.
func Plugin(h Host) plugin.Plugin {
	return plugin.Plugin{
		Name: "vpc-eni", Family: plugin.VPC, Capabilities: []string{plugin.AWSVPC},
		Funcs: skel.CNIFuncs{Add: h.add, Del: h.del, Status: h.status, GC: h.gc},
	}
}

func (h Host) add(args *skel.CmdArgs) error {
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
}

func (h Host) del(args *skel.CmdArgs) error {
	c, to, err := read(args)
	if err != nil {
		return err
	}
	return h.Del(context.Background(), c, to)
}

func (h Host) status(args *skel.CmdArgs) error {
	c, err := ParseNetwork(args.StdinData)
	if err != nil {
		return err
	}
	return h.Status(context.Background(), c)
}

func (h Host) gc(args *skel.CmdArgs) error {
	c, err := ParseNetwork(args.StdinData)
	if err != nil {
		return err
	}
	keep, err := owners(args.StdinData)
	if err != nil {
		return err
	}
	return h.Sweep(context.Background(), c, keep)
}

// owners are the containers whose networks stay. A call that does not say which is
// refused: it would take all.
func owners(data []byte) ([]string, error) {
	var conf struct {
		Valid *[]types.GCAttachment `json:"cni.dev/valid-attachments"`
	}
	if err := plugin.Decode(data, &conf); err != nil {
		return nil, err
	}
	if conf.Valid == nil {
		return nil, plugin.Invalid("cni.dev/valid-attachments", nil, "the attachments that stay, possibly none")
	}
	var ids []string
	for _, a := range *conf.Valid {
		ids = append(ids, a.ContainerID)
	}
	return ids, nil
}

func read(args *skel.CmdArgs) (c Config, to Target, err error) {
	if c, err = Parse(args.StdinData); err == nil {
		to, err = ParseTarget(args.ContainerID, args.Netns)
	}
	return c, to, err
}

// result is what HNS says of the endpoint.
func result(e Endpoint, args *skel.CmdArgs) *current.Result {
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
