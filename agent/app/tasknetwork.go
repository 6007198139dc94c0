package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/config"
	"ecsagent/agent/engine"
	"ecsagent/agent/network/switchnet"
	"ecsagent/agent/network/tasknet"
	"ecsagent/agent/task"
)

// taskNetwork gives tasks of mode awsvpc their network, through the CNI plugins.
type taskNetwork struct {
	runner   *tasknet.Runner
	settings tasknet.Settings
}

var _ engine.Network = (*taskNetwork)(nil)

// offeredNetwork is how tasks get networks on this host.
type offeredNetwork struct {
	engine.Network
	version, branch string // of the plugins, as ECS shows them
	trunking        bool   // branch interfaces are offered
	// join puts a container that has started into its task's network; nil where it is
	// there from the beginning.
	join func(ctx context.Context, spec *task.Spec, pause, container string) error
	// answers asks for the host's service that makes the networks; nil where it is the kernel.
	answers func(context.Context) error
}

// notNow says that tasks cannot have networks at the moment.
type notNow struct{ error }

func networkSettings(cfg *config.Config) tasknet.Settings {
	return tasknet.Settings{BlockMetadata: cfg.AWSVPCBlockIMDS, LocalRoutes: cfg.AWSVPCAdditionalLocalRoutes, LocalAddress: cfg.AWSVPCLocalIPv4}
}

// prepareTaskNetwork finds out whether tasks can have networks of their own (docs/spec/05
// sections 2.13 and 4.2). What an operator asked for and cannot be ends the agent; by
// default the mode is offered where it works.
func (a *agent) prepareTaskNetwork(ctx context.Context) error {
	if !a.cfg.TaskENI || a.cfg.External {
		return nil
	}
	n, err := a.hostNetwork(ctx)
	if err == nil {
		a.network = n
		return nil
	}
	var passes notNow
	if errors.As(err, &passes) && a.cfg.Explicit("ECS_ENABLE_TASK_ENI") {
		return fmt.Errorf("network mode awsvpc (ECS_ENABLE_TASK_ENI): %w", err)
	}
	if ctx.Err() == nil && a.cfg.Explicit("ECS_ENABLE_TASK_ENI") {
		return terminal(fmt.Errorf("network mode awsvpc (ECS_ENABLE_TASK_ENI): %w", err))
	}
	a.log.Info("network mode awsvpc is not offered", zap.Error(err))
	return nil
}

// findTaskNetwork is hostNetwork on Linux.
func (a *agent) findTaskNetwork(ctx context.Context) (*offeredNetwork, error) {
	if a.pause == nil {
		return nil, fmt.Errorf("the pause image is not loaded")
	}
	dir := a.cfg.CNIPluginsPath
	n := &taskNetwork{settings: networkSettings(a.cfg)}
	offer := &offeredNetwork{Network: n}
	for _, plugin := range []string{"vpc-eni", "ecs-bridge", "ecs-ipam", "aws-appmesh"} {
		version, err := tasknet.Verify(ctx, dir, plugin)
		if err != nil {
			return nil, err
		}
		if plugin == "vpc-eni" {
			offer.version = version
		}
	}
	if a.cfg.ENITrunking {
		err := vlans()
		switch {
		case err == nil:
			offer.trunking = true
		case a.cfg.Explicit("ECS_ENABLE_HIGH_DENSITY_ENI"):
			offer.trunking = true
			a.log.Warn("tasks with branch network interfaces may fail", zap.Error(err))
		default:
			a.log.Info("trunk network interfaces are not offered", zap.Error(err))
		}
	}
	if offer.trunking {
		var err error
		if offer.branch, err = tasknet.Verify(ctx, dir, "vpc-branch-eni"); err != nil {
			return nil, err
		}
	}
	n.runner = tasknet.New(tasknet.Options{
		Plugins: dir, Cache: filepath.Join(a.cfg.DataDir, "cni"), Log: a.log,
		Env: []string{"IPAM_DB_PATH=" + filepath.Join(a.cfg.DataDir, "eni-ipam.db")},
	})
	if err := n.runner.Sweep(ctx, a.pauseContainers()); err != nil {
		a.log.Warn("addresses of unknown tasks not released", zap.Error(err))
	}
	return offer, nil
}

// pauseContainers are those that hold the networks of the saved tasks.
func (a *agent) pauseContainers() (ids []string) {
	for _, r := range a.loaded.Tasks {
		if r.Spec == nil {
			continue
		}
		st := task.RestoreState(r.Spec, r.State, time.Now())
		for i := range r.Spec.Containers {
			if c := &st.Containers[i]; r.Spec.Containers[i].Type == task.CNIPause && c.RuntimeID != "" && c.Known != task.ContainerStopped {
				ids = append(ids, c.RuntimeID)
			}
		}
	}
	return ids
}

// Check implements engine.Network.
func (n *taskNetwork) Check(spec *task.Spec) error { return CheckNetwork(n.settings, spec) }

// CheckNetwork says what of a task's own network cannot be.
func CheckNetwork(s tasknet.Settings, spec *task.Spec) error {
	_, err := tasknet.NewPlan(spec, s)
	return err
}

// PreviewNetwork is CheckNetwork for an agent with these settings; nil where no task has
// a network of its own.
func PreviewNetwork(cfg *config.Config, os string) func(*task.Spec) error {
	if !cfg.TaskENI || cfg.External {
		return nil
	}
	if os == "windows" {
		return func(spec *task.Spec) error {
			_, err := switchnet.NewPlan(spec, switchSettings(cfg, nil), nil)
			return err
		}
	}
	return func(spec *task.Spec) error { return CheckNetwork(networkSettings(cfg), spec) }
}

// namespace is the network namespace of a process; none when it has ended.
func namespace(container string, pid int) tasknet.Pause {
	p := tasknet.Pause{ContainerID: container}
	if pid > 0 {
		p.Namespace = fmt.Sprintf("/proc/%d/ns/net", pid)
	}
	return p
}

// SetUp implements engine.Network.
func (n *taskNetwork) SetUp(ctx context.Context, spec *task.Spec, container string, pid int) (string, error) {
	p, err := tasknet.NewPlan(spec, n.settings)
	if err != nil {
		return "", err
	}
	got, err := n.runner.SetUp(ctx, p, namespace(container, pid))
	if err != nil {
		return "", err
	}
	return got.LocalAddress.String(), nil
}

// TearDown implements engine.Network.
func (n *taskNetwork) TearDown(ctx context.Context, spec *task.Spec, container string, pid int) error {
	p, err := tasknet.NewPlan(spec, n.settings)
	if err != nil {
		return err
	}
	return n.runner.TearDown(ctx, p, namespace(container, pid))
}

// Release implements engine.Network.
func (n *taskNetwork) Release(ctx context.Context, spec *task.Spec, container string) error {
	p, err := tasknet.NewPlan(spec, n.settings)
	if err != nil {
		return err
	}
	return n.runner.Release(ctx, p, namespace(container, 0))
}

// localAddress is the address from which a task with a network of its own reaches the
// host.
func localAddress(s *task.Snapshot) netip.Addr {
	for i := range s.Containers {
		if s.Containers[i].Type == task.CNIPause {
			a, _ := netip.ParseAddr(s.State.Containers[i].LocalAddress)
			return a
		}
	}
	return netip.Addr{}
}
