package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Leftovers says what becomes of containers that carry a task's labels although no task
// is known for them.
type Leftovers struct {
	// Ours reports whether the agent of this cluster made the container; nil means that
	// all are somebody else's, and left alone.
	Ours func(cluster string) bool
	// Adopt makes tasks of those found at the start: their records were lost. Without it
	// they belong to a container instance that is no more, and are removed. What is found
	// later is always removed.
	Adopt bool
	// Whole says that no record was lost: a task without one was cleaned up. What Docker made
	// of it after that has never run, and is removed, not adopted.
	Whole bool
	// Removed is called once, when those found at the start are gone.
	Removed func()
}

// leftovers deals with the containers of a list that belong to no task.
func (e *Engine) leftovers(ctx context.Context, list []runtime.Container, startup bool) error {
	ours := make(map[string][]*runtime.Container) // by task
	var foreign []*runtime.Container
	for i := range list {
		c := &list[i]
		arn := c.Labels[runtime.LabelTaskARN]
		switch {
		case e.actor(arn) != nil:
		case task.IsInternal(arn):
			foreign = append(foreign, c) // a helper of the official agent's, whose tasks may still need it
		case e.opt.Leftovers.Ours != nil && e.opt.Leftovers.Ours(c.Labels[runtime.LabelCluster]):
			ours[arn] = append(ours[arn], c)
		default:
			foreign = append(foreign, c)
		}
	}
	e.logForeign(foreign)
	lost := make(map[string][]*runtime.Container) // of those, what becomes tasks
	if e.adopting {
		for arn, containers := range ours {
			if !e.opt.Leftovers.Whole || slices.ContainsFunc(containers, ran) {
				lost[arn] = containers
				delete(ours, arn)
			}
		}
		if err := e.adopt(ctx, lost); err != nil {
			return err
		}
	}
	var removals sync.WaitGroup
	for _, containers := range ours {
		for _, c := range containers {
			if e.removing[c.ID] {
				continue
			}
			e.removing[c.ID] = true
			removals.Go(func() { e.removeLeftover(ctx, c) })
		}
	}
	e.workers.Go(func() {
		removals.Wait()
		if startup && ctx.Err() == nil && e.opt.Leftovers.Removed != nil {
			e.opt.Leftovers.Removed()
		}
	})
	return nil
}

// ran reports whether a container was started once.
func ran(c *runtime.Container) bool { return c.Status > task.ContainerCreated }

// logForeign tells once of containers that are another agent's.
func (e *Engine) logForeign(list []*runtime.Container) {
	told := e.orphans
	e.orphans = make(map[string]bool)
	for _, c := range list {
		e.orphans[c.ID] = true
		if !told[c.ID] {
			e.log.Warn("container of another agent's task left alone", zap.String("task", c.Labels[runtime.LabelTaskARN]),
				zap.String("container", c.Name), zap.String("id", c.ID))
		}
	}
}

// removeLeftover stops and removes a container, and its task's volumes when it was the
// last to use them, until that succeeds.
func (e *Engine) removeLeftover(ctx context.Context, c *runtime.Container) {
	log := e.log.With(zap.String("task", c.Labels[runtime.LabelTaskARN]), zap.String("container", c.Name), zap.String("id", c.ID))
	log.Warn("container of no task is removed")
	for wait := reconcileRetryMin; ; wait = min(2*wait, reconcileRetryMax) {
		err := e.removeGently(ctx, c)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			return
		}
		log.Warn("container of no task not removed", zap.Error(err), zap.Duration("retry_in", wait))
		if !sleep(ctx, wait) {
			return
		}
	}
}

func (e *Engine) removeGently(ctx context.Context, c *runtime.Container) error {
	if c.Status == task.ContainerRunning {
		if err := e.opt.Runtime.Stop(ctx, c.ID, e.opt.StopTimeout); err != nil && !errors.Is(err, runtime.ErrNotFound) {
			return err
		}
	}
	if err := e.opt.Runtime.Remove(ctx, c.ID); err != nil && !errors.Is(err, runtime.ErrNotFound) {
		return err
	}
	prefix := "ecs-" + c.Labels[runtime.LabelFamily] + "-" + c.Labels[runtime.LabelVersion] + "-"
	for _, m := range c.Mounts {
		if !strings.HasPrefix(m.Name, prefix) {
			continue // shared, or not the agent's
		}
		if err := e.opt.Runtime.RemoveVolume(ctx, m.Name); err != nil && !errors.Is(err, runtime.ErrNotFound) {
			e.log.Debug("volume of a removed container kept", zap.String("volume", m.Name), zap.Error(err)) // the next container uses it
		}
	}
	return nil
}

// adopt makes tasks of containers whose task's record was lost, durably. What the disk
// refuses is tried again with the next look; the other tasks do not wait for it.
func (e *Engine) adopt(ctx context.Context, found map[string][]*runtime.Container) error {
	if len(found) == 0 {
		e.adopting = false
		return nil
	}
	release, err := e.serially(ctx)
	if err != nil {
		return err
	}
	defer release()
	now := time.Now()
	var records []task.Record
	for arn, containers := range found {
		if e.actor(arn) != nil {
			continue // delivered meanwhile: the next look finds what belongs to it
		}
		relics, err := e.relics(ctx, containers)
		if err != nil {
			return err
		}
		if len(relics) > 0 {
			spec, state := task.Rebuild(relics, now)
			records = append(records, task.Record{Spec: spec, State: state})
		}
	}
	actors := make([]*actor, len(records))
	for i := range records {
		a := newActor(e, &records[i])
		a.restored = true
		a.choose()
		a.publish()
		a.found.Store(a.st.Known != task.Stopped)
		a.note(-1, task.EventRestored, "the record of the task was lost: it was rebuilt from its containers")
		records[i].State = a.st
		actors[i] = a
	}
	if len(records) > 0 {
		if err := e.opt.Store.SaveTasks(0, records); err != nil {
			e.log.Error("rebuilt tasks not saved", zap.Int("tasks", len(records)), zap.Error(err))
			return nil
		}
	}
	e.adopting = false
	for _, a := range actors {
		a.dirty = false
		e.log.Warn("task rebuilt from its containers", zap.String("task", a.spec.ARN), zap.Stringer("status", a.st.Known),
			zap.Int("containers", len(a.spec.Containers)))
		e.tasks.Store(a.spec.ARN, a)
		e.spawn(a)
	}
	return nil
}

// relics looks at the containers; one that is gone meanwhile is left out.
func (e *Engine) relics(ctx context.Context, containers []*runtime.Container) ([]task.Relic, error) {
	var relics []task.Relic
	for _, c := range containers {
		seen, err := e.opt.Runtime.Inspect(ctx, c.ID)
		if errors.Is(err, runtime.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("inspect container %s: %w", c.ID, err)
		}
		relics = append(relics, task.Relic{
			Labels: task.Labels{
				TaskARN: c.Labels[runtime.LabelTaskARN], Container: c.Labels[runtime.LabelContainerName],
				Family: c.Labels[runtime.LabelFamily], Version: c.Labels[runtime.LabelVersion],
			},
			Sight: *sightOf(&seen),
		})
	}
	return relics, nil
}
