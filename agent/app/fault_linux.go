package app

import (
	"context"
	"errors"
	"fmt"
	"os"

	"ecsagent/agent/endpoint/fault"
	"ecsagent/agent/task"
	linux "ecsagent/platform_linux"
)

// hostNetwork runs the commands of network faults, and finds where they take effect.
type hostNetwork struct{ ipv6Only bool }

// Run implements fault.Runner.
func (hostNetwork) Run(ctx context.Context, c fault.Command) ([]byte, int, error) {
	return linux.RunIn(ctx, c.Namespace, c.Args, c.Stdin)
}

// Place implements fault.Places. A task in mode host has the network of the agent.
func (n hostNetwork) Place(_ context.Context, s *task.Snapshot) (fault.Place, error) {
	if s.NetworkMode != "host" {
		return fault.Place{}, fmt.Errorf("the network of a task in mode %s is not known", s.NetworkMode)
	}
	devices, err := linux.DefaultDevices(os.DirFS("/"))
	if err != nil {
		return fault.Place{}, errors.Join(fault.ErrNoDefaultInterface, err)
	}
	return fault.Place{Devices: devices, IPv6Only: n.ipv6Only}, nil
}

// faultTools reports why network faults cannot be made here; nil when they can.
func faultTools(ctx context.Context, ipv6Only bool) error {
	devices, err := linux.DefaultDevices(os.DirFS("/"))
	if err != nil {
		return err
	}
	if len(devices) == 0 {
		return errors.New("the host has no default route")
	}
	return linux.FaultTools(ctx, ipv6Only, devices[0])
}
