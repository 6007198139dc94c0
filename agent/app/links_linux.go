package app

import (
	"context"
	"os"

	"ecsagent/agent/network"
	linux "ecsagent/platform_linux"
)

// hostLinks are the network interfaces of this host; nil where they are not watched.
func hostLinks() network.Links { return linux.Links{} }

// vlans reports why the host cannot make VLAN devices.
func vlans() error { return linux.VLANs(os.DirFS("/")) }

// hostNetwork finds out how tasks get networks of their own here.
func (a *agent) hostNetwork(ctx context.Context) (*offeredNetwork, error) {
	return a.findTaskNetwork(ctx)
}
