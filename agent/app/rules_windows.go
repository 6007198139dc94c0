package app

import (
	"context"

	"ecsagent/agent/doctor"
)

// hostRules does nothing: Windows has no packet rules of this kind.
func (a *agent) hostRules(context.Context) (run func(context.Context) error, check doctor.Check) {
	return nil, doctor.Check{}
}

// taskPath finds nothing wrong: the path of Windows is an address of the host.
func (a *agent) taskPath(context.Context) error { return nil }
