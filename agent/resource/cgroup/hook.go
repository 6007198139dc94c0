package cgroup

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/resource"
	"ecsagent/agent/task"
)

// Hook gives each task its cgroup through the engine. Without a Manager it can only
// tell what would be made.
type Hook struct{ *Manager }

// sweepAge is how old a cgroup without a task must be before it is swept: another
// agent on this host may have made a younger one for a task whose containers follow.
const sweepAge = 10 * time.Minute

// Kind implements engine.Hook.
func (Hook) Kind() string { return "cgroup" }

// Needs implements engine.Hook. A task whose id cannot name a cgroup gets none.
func (h Hook) Needs(spec *task.Spec) ([]task.Resource, error) {
	if checkID(spec.ID()) != nil {
		return nil, nil
	}
	if _, err := LimitsOf(spec, Settings{}); err != nil {
		return nil, err
	}
	return []task.Resource{{Name: "cgroup", Text: "task cgroup", Before: task.ContainerCreated}}, nil
}

// Preview implements engine.Hook.
func (h Hook) Preview(spec *task.Spec, _ *task.Resource) resource.Provided {
	parent := "<cgroup of the task>"
	if h.Manager != nil {
		parent = h.Parent(spec)
	}
	return given(parent)
}

func given(parent string) resource.Provided {
	return resource.Provided{Shared: dockerspec.Inputs{CgroupParent: parent}}
}

// Provision implements engine.Hook.
func (h Hook) Provision(ctx context.Context, s *task.Snapshot, _ *task.Resource) (resource.Provided, error) {
	parent, err := h.Create(ctx, s.Spec)
	return given(parent), err
}

// CleanUp implements engine.Hook. The task's containers are gone by then: what is still in
// the cgroup is of one that an engine has lost, as it does when it is killed between making
// a container's first process and starting it, and nobody else would end it.
func (h Hook) CleanUp(ctx context.Context, s *task.Snapshot, _ *task.Resource, _ map[string]string) error {
	err := h.Remove(ctx, s.Spec)
	if !errors.Is(err, ErrBusy) {
		return err
	}
	ended, killErr := h.KillRest(s.ID())
	if len(ended) > 0 {
		h.opt.Log.Warn("processes ended that were left of a task whose containers are removed", zap.String("task", s.ARN), zap.Ints("pids", ended))
	}
	if killErr != nil {
		return errors.Join(err, killErr)
	}
	return h.Remove(ctx, s.Spec)
}

// Sweep implements engine.Sweeper. A cgroup in which something runs stays.
func (h Hook) Sweep(ctx context.Context, known func(taskID string) bool) error {
	ids, err := h.List(ctx)
	if err != nil {
		return err
	}
	ids = slices.DeleteFunc(ids, known)
	if len(ids) == 0 {
		return nil
	}
	var failed []error
	young := h.driver.youngerThan(time.Now().Add(-sweepAge))
	for _, id := range ids {
		if young(id) {
			continue
		}
		err := h.RemoveID(ctx, id)
		switch {
		case err == nil:
			h.opt.Log.Info("cgroup of an unknown task removed", zap.String("task", id))
		case !errors.Is(err, ErrBusy):
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
