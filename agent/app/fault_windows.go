package app

import (
	"context"
	"errors"

	"ecsagent/agent/endpoint/fault"
	"ecsagent/agent/task"
)

var errNoFaults = errors.New("network faults are for Linux")

// hostNetwork cannot disturb networks on Windows.
type hostNetwork struct {
	ipv6Only bool
	process  func(ctx context.Context, container string) (pid int, err error)
}

// Run implements fault.Runner.
func (hostNetwork) Run(context.Context, fault.Command) ([]byte, int, error) {
	return nil, 0, errNoFaults
}

// Place implements fault.Places.
func (hostNetwork) Place(context.Context, *task.Snapshot) (fault.Place, error) {
	return fault.Place{}, errNoFaults
}

func faultTools(context.Context, bool) error { return errNoFaults }
