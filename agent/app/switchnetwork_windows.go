package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"go.uber.org/zap"

	"ecsagent/agent/engine"
	"ecsagent/agent/network/switchnet"
	"ecsagent/agent/network/tasknet"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// switchNetwork gives tasks of mode awsvpc their network on Windows.
type switchNetwork struct{ *switchnet.Runner }

var _ engine.Network = switchNetwork{}

// SetUp implements engine.Network.
func (n switchNetwork) SetUp(ctx context.Context, spec *task.Spec, container string, _ int) (string, error) {
	local, err := n.Runner.SetUp(ctx, spec, container)
	if err != nil {
		return "", err
	}
	return local.String(), nil
}

// TearDown implements engine.Network.
func (n switchNetwork) TearDown(ctx context.Context, spec *task.Spec, container string, _ int) error {
	return n.Runner.TearDown(ctx, spec, container)
}

// Release implements engine.Network: the addresses are those of HNS.
func (switchNetwork) Release(context.Context, *task.Spec, string) error { return nil }

// findSwitchNetwork is hostNetwork on Windows (docs/spec/05 sections 2.13 and 5.1). Networks
// that earlier tasks have left go.
func (a *agent) findSwitchNetwork(ctx context.Context, primary net.HardwareAddr, servers func() []string) (*offeredNetwork, error) {
	if a.pause == nil {
		return nil, errors.New("the pause image is not there")
	}
	dir := a.cfg.CNIPluginsPath
	version, err := tasknet.Verify(ctx, dir, "vpc-eni")
	if err != nil {
		return nil, err
	}
	r := switchnet.New(switchnet.Options{
		Plugins: dir, Settings: switchSettings(a.cfg, primary), Exec: tasknet.NewExec(nil), Containers: a.docker, Servers: servers, Log: a.log,
	})
	if err := r.Status(ctx); err != nil {
		err = fmt.Errorf("the host networking service: %w", err)
		var said *types.Error
		if errors.As(err, &said) && said.Code == switchnet.Unavailable {
			return nil, err
		}
		return nil, notNow{err}
	}
	offer := &offeredNetwork{Network: switchNetwork{r}, version: version, join: r.Join, answers: r.Answers}
	if err := a.sweepSwitches(ctx, r); err != nil {
		a.log.Warn("networks of unknown tasks not removed", zap.Error(err))
	}
	a.rejoin(ctx, offer)
	return offer, nil
}

// sweepSwitches removes what belongs to no pause container that is there, or that a saved
// task knows: a record of a task may be lost while its containers run.
func (a *agent) sweepSwitches(ctx context.Context, r *switchnet.Runner) error {
	all, err := a.docker.List(ctx)
	if err != nil {
		return err
	}
	keep := a.pauseContainers()
	for i := range all {
		if all[i].Status == task.ContainerRunning && strings.HasPrefix(all[i].Labels[runtime.LabelContainerName], task.NetworkPauseName) {
			keep = append(keep, all[i].ID)
		}
	}
	return r.Sweep(ctx, keep)
}

// rejoin puts containers into their tasks' networks that an earlier process has started and
// nothing more.
func (a *agent) rejoin(ctx context.Context, n *offeredNetwork) {
	for _, r := range a.loaded.Tasks {
		if r.Spec == nil || r.Spec.NetworkMode != "awsvpc" {
			continue
		}
		st := task.RestoreState(r.Spec, r.State, time.Now())
		pause := pauseOfTask(r.Spec, &st)
		if pause == "" {
			continue
		}
		for i := range r.Spec.Containers {
			c := &st.Containers[i]
			if r.Spec.Containers[i].Internal() || c.Known >= task.ContainerRunning || c.DockerName == "" {
				continue
			}
			seen, err := a.docker.Inspect(ctx, c.DockerName)
			if err != nil || seen.Status != task.ContainerRunning {
				continue
			}
			if err := n.join(ctx, r.Spec, pause, seen.ID); err != nil {
				a.log.Warn("container did not join its task's network", zap.String("task", r.Spec.ARN), zap.String("container", r.Spec.Containers[i].Name), zap.Error(err))
			}
		}
	}
}
