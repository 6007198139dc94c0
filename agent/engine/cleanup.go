package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

const (
	// answeredWait is how long a task that never reached Docker is remembered after it
	// stopped: long enough to ignore a late copy of the payload that started it.
	answeredWait = 10 * time.Minute

	cleanupRetryMin = time.Minute
	cleanupRetryMax = time.Hour
)

// cleanupState is where the clean-up of a stopped task is (docs/spec/02 section 8.4).
type cleanupState struct {
	due     time.Time
	retry   time.Duration
	running bool
	done    bool
}

// cleanedMessage ends an attempt to remove a task's containers and volumes.
type cleanedMessage struct{ err error }

// deletedMessage says that the task's record is gone.
type deletedMessage struct{}

// planCleanup begins the clean-up when its time has come and ECS has accepted that
// the task stopped. It returns when to ask again.
func (a *actor) planCleanup(ctx context.Context, now time.Time) time.Time {
	c := &a.cleanup
	if a.st.Known != task.Stopped || c.running || c.done {
		return time.Time{}
	}
	if c.due.IsZero() {
		wait := a.e.opt.CleanupWait + time.Duration(float64(a.e.opt.CleanupJitter)*a.e.opt.Random())
		if !touchedDocker(&a.st) {
			wait = min(wait, answeredWait)
		}
		c.due = a.st.StoppedAt.Add(wait)
	}
	if now.Before(c.due) {
		return c.due
	}
	if a.sent != task.Stopped || a.outstanding > 0 || uncertain(&a.st) {
		return time.Time{}
	}
	c.running = true
	snap := a.snap.Load()
	a.e.workers.Go(func() {
		err := a.e.remove(ctx, snap)
		if ctx.Err() == nil {
			a.box.put(cleanedMessage{err})
		}
	})
	return time.Time{}
}

func touchedDocker(st *task.State) bool {
	for i := range st.Containers {
		if c := &st.Containers[i]; c.RuntimeID != "" || c.CreateTried {
			return true
		}
	}
	for i := range st.Volumes {
		if st.Volumes[i].Created {
			return true
		}
	}
	return false
}

func uncertain(st *task.State) bool {
	for i := range st.Containers {
		if st.Containers[i].Uncertain {
			return true
		}
	}
	return false
}

func (m cleanedMessage) handle(a *actor) {
	c := &a.cleanup
	if m.err != nil {
		c.running = false
		c.retry = min(max(2*c.retry, cleanupRetryMin), cleanupRetryMax)
		c.due = time.Now().Add(c.retry)
		a.log.Warn("task not cleaned up", zap.Error(m.err), zap.Duration("retry_in", c.retry))
		return
	}
	a.log.Info("task cleaned up")
	a.sav.add(saveItem{remove: true, patient: true, answer: func(error) { a.box.put(deletedMessage{}) }})
}

func (deletedMessage) handle(a *actor) { a.cleanup.done = true }

// remove removes the task's containers with their anonymous volumes, in the order
// of the task, then its resources and the volumes that live only as long as the task.
func (e *Engine) remove(ctx context.Context, snap *task.Snapshot) error {
	var failed []error
	for i := range snap.Containers {
		c := &snap.State.Containers[i]
		id := c.RuntimeID
		if id == "" && c.CreateTried {
			id = c.DockerName
		}
		for _, id := range append(slices.Clone(c.Discarded), id) {
			if id == "" {
				continue
			}
			if err := e.removeContainer(ctx, id); err != nil {
				failed = append(failed, fmt.Errorf("remove container %s: %w", snap.Containers[i].Name, err))
			}
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...) // their volumes and resources are still in use
	}
	if err := e.releaseNetwork(ctx, snap); err != nil {
		failed = append(failed, err)
	}
	if err := e.removeResources(ctx, snap); err != nil {
		failed = append(failed, err)
	}
	e.drained.forget(snap.ARN)
	for i := range snap.Volumes {
		// One that is not known to be made may have been: the answer was lost, or the agent
		// was killed before it.
		v, st := snap.Volumes[i].Docker, &snap.State.Volumes[i]
		if st.DockerName == "" || v != nil && v.Scope == task.VolumeShared {
			continue
		}
		if err := e.opt.Runtime.RemoveVolume(ctx, st.DockerName); err != nil && !errors.Is(err, runtime.ErrNotFound) {
			failed = append(failed, fmt.Errorf("remove volume %s: %w", st.DockerName, err))
		} else if !st.Created {
			if err := e.removeLate(st.DockerName); err != nil {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}

// removeContainer removes a container; one that turns out to run is stopped first.
func (e *Engine) removeContainer(ctx context.Context, id string) error {
	err := e.opt.Runtime.Remove(ctx, id)
	if err == nil || errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	if stopErr := e.opt.Runtime.Stop(ctx, id, e.opt.StopTimeout); stopErr != nil && !errors.Is(stopErr, runtime.ErrNotFound) {
		return errors.Join(err, stopErr)
	}
	if err = e.opt.Runtime.Remove(ctx, id); errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	return err
}
