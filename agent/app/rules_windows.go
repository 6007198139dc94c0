package app

import (
	"context"
	"fmt"
	"net/netip"

	"ecsagent/agent/doctor"
	"ecsagent/platform_windows/taskpath"
)

const whoMakesThePath = "the agent makes the way, and offers them, once Docker's network nat is there"

// pathKeeper keeps the path of tasks to the agent.
func (a *agent) pathKeeper() (*taskpath.Keeper, error) {
	at, err := netip.ParseAddrPort(a.cfg.TaskEndpointAddress)
	if err != nil || !at.Addr().Is4() {
		return nil, fmt.Errorf(`ECS_TASK_ENDPOINT_ADDRESS: %q; want an IPv4 address of this host with a port, such as "127.0.0.1:51679", for a path from 169.254.170.2`, a.cfg.TaskEndpointAddress)
	}
	return &taskpath.Keeper{Host: taskpath.System{Agent: at}, Agent: at, Log: a.log}, nil
}

// hostRules keeps the path of tasks to the agent while it runs, where tasks have roles.
func (a *agent) hostRules(context.Context) (run func(context.Context) error, check doctor.Check) {
	if !a.cfg.TaskIAMRole {
		return nil, doctor.Check{}
	}
	k, err := a.pathKeeper()
	if err != nil {
		return nil, doctor.Rules(func(context.Context) ([]string, error) { return nil, err })
	}
	k.Made = a.pathMade
	return k.Run, doctor.Rules(k.Missing)
}

// pathMade hears that tasks reach the agent, and has their roles offered if they were not:
// Docker's network may come after the agent.
func (a *agent) pathMade() {
	if !a.rolesReached.Swap(true) {
		a.engineReturned()
	}
}

// taskPath makes the path of tasks to the agent, and says why they would not reach it. Who
// only asks what the agent could do leaves the host as it is.
func (a *agent) taskPath(ctx context.Context) error {
	k, err := a.pathKeeper()
	switch {
	case err != nil:
		return err
	case a.asking:
		return k.Can(ctx)
	}
	return k.Ensure(ctx)
}
