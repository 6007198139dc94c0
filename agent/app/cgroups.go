package app

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"ecsagent/agent/resource/cgroup"
)

// limitsSetting switches the limits of whole tasks on or off; unset means on where
// they work.
const limitsSetting = "ECS_ENABLE_TASK_CPU_MEM_LIMIT"

// prepareCgroups makes what tasks' cgroups stand below. Where that fails the feature
// is off, or the agent cannot start when it was asked for (docs/spec/02 section 4.10).
// That Docker does not answer says nothing about the host: with the feature off for it,
// tasks that have a cgroup would fail, and leave it behind.
func (a *agent) prepareCgroups(ctx context.Context) error {
	if a.host.OSType != "linux" || !a.cfg.TaskCPUMemLimit {
		return nil
	}
	info, err := a.docker.Info(ctx)
	if err != nil {
		return err
	}
	m := cgroup.New(cgroup.Options{
		Path: a.cfg.CgroupPath, Driver: info.CgroupDriver, Slices: slicesOf(),
		Settings: cgroup.Settings{Period: a.cfg.CgroupCPUPeriod, Pids: a.cfg.TaskPidsLimit}, Log: a.log,
	})
	switch err = m.Init(ctx); {
	case err == nil:
		a.cgroups = m
		return nil
	case ctx.Err() != nil:
		return err
	case a.cfg.Explicit(limitsSetting):
		return terminal(fmt.Errorf("%s is true: %w", limitsSetting, err))
	}
	a.log.Warn("limits of whole tasks are not enforced on this host", zap.Error(err))
	return nil
}
