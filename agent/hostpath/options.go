package hostpath

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"

	"ecsagent/agent/config"
	rules "ecsagent/platform_linux/hostrules"
)

// Options are what the settings and the host's network say about packet rules.
func Options(cfg *config.Config, host rules.Host, bridge string) rules.Options {
	return rules.Options{
		TaskPort: port(cfg.TaskEndpointAddress), IntrospectionPort: port(cfg.IntrospectionAddress),
		Bridge: bridge, Uplinks: host.Uplinks, IPv6: host.IPv6, LoopbackRoute: !host.DefaultRoute,
		SkipLocalhostFilter: cfg.SkipLocalhostTrafficFilter, OffhostIntrospection: cfg.AllowOffhostIntrospection,
		BlockMetadata: cfg.BridgeBlockIMDS,
	}
}

// port is that of an address to listen on; 0, the usual one, if it is not known
// before somebody listens.
func port(address string) uint16 {
	if a, err := netip.ParseAddrPort(address); err == nil {
		return a.Port()
	}
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// Planner makes plans of this host as it is at the time.
type Planner struct {
	Config *config.Config
	// Bridge finds the interface of Docker's default bridge network.
	Bridge func(ctx context.Context) (string, error)
}

// NewPlanner asks the Docker engine of the settings for its bridge.
func NewPlanner(cfg *config.Config) *Planner {
	d := docker{endpoint: cfg.DockerEndpoint}
	return &Planner{Config: cfg, Bridge: d.bridge}
}

// Plan makes a plan. Docker that does not answer is no failure: the bridge it had is
// taken for the one it has.
func (p *Planner) Plan(ctx context.Context) (rules.Plan, error) {
	bridge, err := p.Bridge(ctx)
	if ctx.Err() != nil {
		return rules.Plan{}, ctx.Err()
	}
	if err != nil {
		bridge = usualBridge(net.InterfaceByName)
	}
	return rules.Build(Options(p.Config, rules.Look(os.DirFS("/")), bridge)), nil
}

// usualBridge is Docker's default name for its bridge, if there is such an interface.
func usualBridge(find func(string) (*net.Interface, error)) string {
	const name = "docker0"
	if _, err := find(name); err != nil {
		return ""
	}
	return name
}
