package app

import (
	"ecsagent/agent/config"
	"ecsagent/agent/engine"
	"ecsagent/agent/resource/cgroup"
)

// hooks make the resources of tasks (docs/architecture.md, "How to add a resource").
// Those of one task are made at the same time and removed in reverse order.
func (a *agent) hooks() []engine.Hook {
	var list []engine.Hook
	if a.cgroups != nil {
		list = append(list, cgroup.Hook{Manager: a.cgroups})
	}
	return list
}

// Previews are the hooks that an agent with these settings would have, as far as they
// can tell what they would make; os is the containers' operating system.
func Previews(cfg *config.Config, os string) []engine.Hook {
	var list []engine.Hook
	if os == "linux" && cfg.TaskCPUMemLimit {
		list = append(list, cgroup.Hook{})
	}
	return list
}

var _ engine.Sweeper = cgroup.Hook{}
