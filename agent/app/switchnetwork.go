package app

import (
	"context"
	"errors"
	"fmt"
	"net"

	"go.uber.org/zap"

	"ecsagent/agent/config"
	"ecsagent/agent/network/switchnet"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

func switchSettings(cfg *config.Config, primary net.HardwareAddr) switchnet.Settings {
	return switchnet.Settings{BlockMetadata: cfg.AWSVPCBlockIMDS, LocalRoutes: cfg.AWSVPCAdditionalLocalRoutes, Primary: primary}
}

// pauseOfTask is the container that holds the network of a task; empty when there is none.
func pauseOfTask(spec *task.Spec, st *task.State) string {
	for i := range spec.Containers {
		if spec.Containers[i].Type == task.CNIPause {
			return st.Containers[i].RuntimeID
		}
	}
	return ""
}

// started is what a container that has started is given (docs/spec/05 sections 5.5 and
// 5.11); nil where nothing is to be done.
func (a *agent) started() func(context.Context, *task.Snapshot, *runtime.Container) error {
	if a.host.OSType != "windows" || (a.network == nil || a.network.join == nil) && !a.cfg.TaskIAMRole {
		return nil
	}
	return func(ctx context.Context, s *task.Snapshot, c *runtime.Container) error {
		if s.NetworkMode == "awsvpc" {
			return a.join(ctx, s, c)
		}
		if nat, on := c.Networks[natNetwork]; on && a.rolesReached.Load() {
			if err := switchnet.RouteToAgent(ctx, a.docker, c.ID, nat); err != nil {
				a.log.Info("container was not given its route to 169.254.170.2: its image has to add it",
					zap.String("task", s.ARN), zap.String("container", c.Labels[runtime.LabelContainerName]), zap.Error(err))
			}
		}
		return nil
	}
}

// natNetwork is Docker's own network of Windows.
const natNetwork = "nat"

func (a *agent) join(ctx context.Context, s *task.Snapshot, c *runtime.Container) error {
	if a.network == nil || a.network.join == nil {
		return errors.New("startContainer: cni plugin invocation failed: task networking is switched off on this container instance")
	}
	if err := a.network.join(ctx, s.Spec, pauseOfTask(s.Spec, &s.State), c.ID); err != nil {
		return fmt.Errorf("startContainer: cni plugin invocation failed: %w", err)
	}
	return nil
}
