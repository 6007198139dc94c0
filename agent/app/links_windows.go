package app

import (
	"context"
	"errors"
	"net"

	"go.uber.org/zap"

	"ecsagent/agent/network"
	windows "ecsagent/platform_windows"
	"ecsagent/platform_windows/adapters"
)

// hostLinks are the network interfaces of this host; nil where they are not watched.
func hostLinks() network.Links { return &windows.Links{} }

// hostNetwork finds out how tasks get networks of their own here.
func (a *agent) hostNetwork(ctx context.Context) (*offeredNetwork, error) {
	primary := a.primaryMAC(ctx)
	return a.findSwitchNetwork(ctx, primary, func() []string { return a.dnsServers(primary) })
}

// dnsServers are those of the host's own interface, which tasks ask too.
func (a *agent) dnsServers(primary net.HardwareAddr) []string {
	if len(a.cfg.InstanceENIDNSServers) > 0 {
		return a.cfg.InstanceENIDNSServers
	}
	servers, err := adapters.Servers(primary)
	if err != nil || len(servers) == 0 {
		a.log.Warn("DNS servers of the primary network interface not known: tasks of mode awsvpc have none", zap.Stringer("eni", primary), zap.Error(err))
	}
	return servers
}

// vlans reports why the host cannot make VLAN devices.
func vlans() error { return errors.New("branch network interfaces are of Linux") }
