package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Limits of stopping (docs/spec/02 section 2.8).
const (
	stopAttempts  = 5
	stopRetryMin  = time.Second
	stopRetryMax  = 5 * time.Second
	stopRetryGrow = 1.3
	stopJitter    = 0.2
	pingLimit     = 5 * time.Second
	// endGrace is how long a stop that succeeded waits for Docker's event of the end,
	// which is on its way then, before it asks.
	endGrace = 25 * time.Millisecond
)

// stop stops the container: up to five attempts of one stop call, and an inspect
// where Docker's events do not tell how it ended. When they all fail it is killed. A
// container that may run after that keeps its task, and the host's resources, as they
// are: the planner has it tried again, until Docker shows that it does not run.
func (w *stepWork) stop(ctx context.Context, r *answer) {
	c := w.state()
	id := c.RuntimeID
	if id == "" {
		id = c.DockerName
	}
	w.drain(ctx)
	defer w.takeDownNetwork(ctx, id, r)()
	timeout := w.e.hurried(stopTimeout(w.container().StopTimeout, w.e.opt.StopTimeout), w.snap, w.step.Container)
	var err error
	for attempt, wait := 1, stopRetryMin; ; attempt, wait = attempt+1, min(time.Duration(float64(wait)*stopRetryGrow), stopRetryMax) {
		if err = w.stopOnce(ctx, id, timeout, r); err == nil {
			return
		}
		w.e.log.Warn("container not stopped", zap.String("task", w.snap.ARN), zap.String("container", w.container().Name),
			zap.Int("attempt", attempt), zap.Error(err))
		w.box.put(stopFailedMessage{container: w.step.Container, attempt: attempt, err: err})
		// After a time-out Docker has had two minutes more than the container.
		if attempt == stopAttempts || errors.Is(err, runtime.ErrTimeout) ||
			!sleep(ctx, wait+time.Duration(float64(wait)*stopJitter*w.e.opt.Random())) {
			break
		}
	}
	w.escalate(ctx, id, err, r)
}

// escalate kills a container that Docker did not stop. The failure that led here is the
// container's reason, unless Docker does not answer at all: what may heal by itself is
// no reason.
func (w *stepWork) escalate(ctx context.Context, id string, failed error, r *answer) {
	pingCtx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	if w.e.opt.Runtime.Ping(pingCtx) != nil {
		r.done.Unstopped = true
		return
	}
	r.done.Err = reason(failed, "CannotStopContainerError")
	w.e.log.Error("container cannot be stopped, it is killed", zap.String("task", w.snap.ARN),
		zap.String("container", w.container().Name), zap.String("id", id), zap.Error(failed))
	killed := w.e.opt.Runtime.Kill(ctx, id)
	if errors.Is(killed, runtime.ErrNotFound) {
		return
	}
	if killed == nil {
		if end, told := w.awaitEnd(ctx); told {
			r.done.Sight = endSight(end)
			return
		}
	}
	seen, err := w.e.opt.Runtime.Inspect(ctx, id)
	switch {
	case errors.Is(err, runtime.ErrNotFound):
	case err == nil && seen.Status == task.ContainerStopped:
		r.done.Sight = sightOf(&seen)
	default:
		r.done.Unstopped = true
		if err = errors.Join(killed, err); err != nil {
			w.box.put(stopFailedMessage{container: w.step.Container, killed: true, err: err})
		}
	}
}

func endSight(end runtime.Event) *task.Sight {
	return &task.Sight{Status: task.ContainerStopped, ExitCode: end.ExitCode, FinishedAt: end.Time}
}

// errRunsOn is a stop that Docker calls done although it shows the container running.
var errRunsOn = errors.New("docker says that the container was stopped and shows that it runs")

// stopFailedMessage tells of an attempt that failed while the step goes on.
type stopFailedMessage struct {
	container, attempt int
	killed             bool // of the kill after the attempts
	err                error
}

func (m stopFailedMessage) handle(a *actor) {
	if m.killed {
		a.note(m.container, task.EventStopFailed, "kill: "+m.err.Error())
		return
	}
	a.containers[m.container].stops = m.attempt
	a.note(m.container, task.EventStopFailed, fmt.Sprintf("%s attempt: %s", task.Ordinal(m.attempt), m.err))
}

// stopOnce is nil once the container is known not to run, and how it ended.
func (w *stepWork) stopOnce(ctx context.Context, id string, timeout time.Duration, r *answer) error {
	err := w.e.opt.Runtime.Stop(ctx, id, timeout)
	if errors.Is(err, runtime.ErrNotFound) {
		return nil // gone, so stopped
	}
	if err == nil && w.state().Known.IsRunning() {
		if end, told := w.awaitEnd(ctx); told {
			r.done.Sight = endSight(end)
			return nil
		}
	}
	seen, lookErr := w.e.opt.Runtime.Inspect(ctx, id)
	switch {
	case lookErr == nil && (seen.Status == task.ContainerStopped || err == nil && seen.Status != task.ContainerRunning):
		r.done.Sight = sightOf(&seen)
		return nil
	case lookErr == nil && err == nil:
		return errRunsOn
	case errors.Is(lookErr, runtime.ErrNotFound):
		return nil
	case err == nil:
		return lookErr // it is stopped; how it ended is only known to Docker
	}
	return err
}

// awaitEnd returns the event of the container's end.
func (w *stepWork) awaitEnd(ctx context.Context) (end runtime.Event, told bool) {
	timer := time.NewTimer(endGrace)
	defer timer.Stop()
	select {
	case end = <-w.ends:
		return end, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return end, false
}

// stopTimeout is the time between SIGTERM and SIGKILL, in whole seconds.
func stopTimeout(own, fallback time.Duration) time.Duration {
	if own = own.Truncate(time.Second); own > 0 {
		return own
	}
	return max(fallback, time.Second)
}

func sortNetworks(n []task.Network) {
	slices.SortFunc(n, func(a, b task.Network) int { return strings.Compare(a.Name, b.Name) })
}
