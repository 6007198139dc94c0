package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"ecsagent/agent/endpoint/fault"
	"ecsagent/agent/network/tasknet"
	"ecsagent/agent/task"
	linux "ecsagent/platform_linux"
)

// hostNetwork runs the commands of network faults, and finds where they take effect.
type hostNetwork struct {
	ipv6Only bool
	// process finds the first process of a container that runs.
	process func(ctx context.Context, container string) (pid int, err error)
}

// Run implements fault.Runner.
func (hostNetwork) Run(ctx context.Context, c fault.Command) ([]byte, int, error) {
	return linux.RunIn(ctx, c.Namespace, c.Args, c.Stdin)
}

// Place implements fault.Places. A task in mode host has the network of the agent, one in
// mode awsvpc that of its pause container.
func (n hostNetwork) Place(ctx context.Context, s *task.Snapshot) (fault.Place, error) {
	switch s.NetworkMode {
	case "host":
		devices, err := linux.DefaultDevices(os.DirFS("/"))
		if err != nil {
			return fault.Place{}, errors.Join(fault.ErrNoDefaultInterface, err)
		}
		return fault.Place{Devices: devices, IPv6Only: n.ipv6Only}, nil
	case "awsvpc":
		return n.ofPause(ctx, s)
	default:
		return fault.Place{}, fmt.Errorf("the network of a task in mode %s is not known", s.NetworkMode)
	}
}

func (n hostNetwork) ofPause(ctx context.Context, s *task.Snapshot) (fault.Place, error) {
	i := slices.IndexFunc(s.Containers, func(c task.Container) bool { return c.Type == task.CNIPause })
	if i < 0 || s.State.Containers[i].RuntimeID == "" || len(s.ENIs) == 0 {
		return fault.Place{}, errors.New("the task has no network yet")
	}
	pid, err := n.process(ctx, s.State.Containers[i].RuntimeID)
	if err != nil {
		return fault.Place{}, fmt.Errorf("find the process of the pause container: %w", err)
	}
	place := fault.Place{
		Namespace: fmt.Sprintf("/proc/%d/ns/net", pid), Devices: []string{tasknet.ENIName},
		IPv6Only: len(s.ENIs[0].IPv4) == 0 && len(s.ENIs[0].IPv6) > 0,
	}
	if place.Identity, err = os.Readlink(place.Namespace); err != nil {
		return fault.Place{}, fmt.Errorf("find the network of the pause container: %w", err)
	}
	return place, nil
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
