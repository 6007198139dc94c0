package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// watchRetry is the pause before the event stream is asked for again, should the
// runtime give it up.
const watchRetry = time.Second

// watch hands Docker's events to the tasks' mailboxes until ctx ends.
func (e *Engine) watch(ctx context.Context) {
	for {
		err := e.opt.Runtime.Watch(ctx, e.dispatch)
		if ctx.Err() != nil {
			return
		}
		e.log.Warn("docker events ended", zap.Error(err), zap.Duration("retry_in", watchRetry))
		if !sleep(ctx, watchRetry) {
			return
		}
		e.reconcileSoon()
	}
}

// dispatch finds the container by the labels that the event carries. It never
// waits, and asks Docker nothing.
func (e *Engine) dispatch(ev runtime.Event) {
	if ev.Type == runtime.EventReconnected {
		e.reconcileSoon()
		return
	}
	a := e.actor(ev.Labels[runtime.LabelTaskARN])
	if a == nil {
		return
	}
	if i := a.spec.Index(ev.Labels[runtime.LabelContainerName]); i >= 0 {
		a.box.put(dockerMessage{container: i, event: ev})
	}
}

// dockerMessage is an event of Docker for one container.
type dockerMessage struct {
	container int
	event     runtime.Event
}

// lookMessage is what an inspect brought; err when it failed.
type lookMessage struct {
	container int
	cause     runtime.Event
	sight     *task.Sight
	err       error
}

func (m dockerMessage) handle(a *actor) {
	if !a.isOurs(m.container, m.event.ID, m.event.Name) {
		return
	}
	switch m.event.Type {
	case runtime.EventCreate: // the answer to the create brings the id
	case runtime.EventExecDie: // execs are watched apart
	case runtime.EventOOM:
		a.containers[m.container].oom = true
	default:
		w := &a.containers[m.container]
		w.held = append(w.held, m.event)
		if m.event.Type == runtime.EventDie && !m.event.Past && m.event.ExitCode != nil && !w.oom && w.ends != nil {
			select {
			case w.ends <- m.event:
			default:
			}
		}
		a.catchUp(m.container)
	}
}

// isOurs tells the task's container from one that merely carries its labels.
func (a *actor) isOurs(i int, id, name string) bool {
	c := &a.st.Containers[i]
	if c.RuntimeID != "" {
		return c.RuntimeID == id
	}
	return c.DockerName == name
}

// catchUp works off the container's events in order, as far as nothing is under way
// that will tell more.
func (a *actor) catchUp(i int) {
	w := &a.containers[i]
	for len(w.held) > 0 && !w.looking && a.st.Containers[i].Applied < task.ContainerCreated {
		ev := w.held[0]
		w.held = w.held[1:]
		a.dockerEvent(i, ev)
	}
}

func (a *actor) dockerEvent(i int, ev runtime.Event) {
	c := &a.st.Containers[i]
	switch ev.Type {
	case runtime.EventStart:
		if c.Known == task.ContainerStopped {
			// Docker may tell of a start after the end: it only writes the event when its own
			// part is done.
			if ev.Time.After(c.FinishedAt) {
				a.lookAt(i, ev)
			}
		} else if !c.Known.IsRunning() {
			a.lookAt(i, ev)
		}
	case runtime.EventDie:
		if c.Known == task.ContainerStopped {
			return
		}
		if a.exitIsClear(i, ev) {
			a.apply(task.Exit{Container: i, ExitCode: ev.ExitCode, Time: ev.Time}, time.Now())
		} else {
			a.lookAt(i, ev)
		}
	case runtime.EventHealth:
		if a.spec.Containers[i].HealthCheckType != "" && c.Known.IsRunning() {
			a.lookAt(i, ev)
		}
	case runtime.EventDestroy:
		a.apply(task.Vanish{Container: i}, time.Now())
	}
}

// exitIsClear reports whether the event says all there is to know: the container was
// known to run, its process ended well, was not killed for memory and is not to be
// started again. After an end of the past it may have been started again.
func (a *actor) exitIsClear(i int, ev runtime.Event) bool {
	policy := a.spec.Containers[i].Restart
	return !ev.Past && a.st.Containers[i].Known.IsRunning() && ev.ExitCode != nil && *ev.ExitCode == 0 && !a.containers[i].oom && (policy == nil || !policy.Enabled)
}

// lookAt inspects the container; later events of it wait.
func (a *actor) lookAt(i int, cause runtime.Event) {
	a.containers[i].looking = true
	a.outstanding++
	ctx := a.e.ctx
	a.e.workers.Go(func() {
		seen, err := a.e.opt.Runtime.Inspect(ctx, cause.ID)
		if ctx.Err() != nil {
			return
		}
		m := lookMessage{container: i, cause: cause, err: err}
		if err == nil {
			m.sight = sightOf(&seen)
		}
		a.box.put(m)
	})
}

func (m lookMessage) handle(a *actor) {
	a.outstanding--
	w := &a.containers[m.container]
	w.looking = false
	if c := &a.st.Containers[m.container]; m.sight != nil && m.sight.Status == task.ContainerRunning && c.Known == task.ContainerStopped {
		a.log.Warn("container came back after its end", zap.String("container", a.spec.Containers[m.container].Name))
	}
	seen := w.seen
	w.seen = nil
	if event := m.event(w.oom); event != nil {
		a.apply(event, time.Now())
	} else if seen != nil {
		seen.handle(a)
	}
	a.catchUp(m.container)
}

// looking reports whether a container is being inspected because of an event.
func (a *actor) looking() bool {
	return slices.ContainsFunc(a.containers, func(w containerWork) bool { return w.looking })
}

func (m lookMessage) event(oom bool) task.Event {
	switch {
	case m.cause.Past: // what the container is now counts
	case m.cause.Type == runtime.EventDie:
		sight := m.sight
		if sight == nil && oom {
			sight = &task.Sight{Status: task.ContainerStopped, OOM: true}
		}
		return task.Exit{Container: m.container, ExitCode: m.cause.ExitCode, Time: m.cause.Time, Sight: sight}
	case m.cause.Type == runtime.EventHealth:
		if m.sight == nil {
			return task.Probe{Container: m.container, Health: m.cause.Health}
		}
	}
	switch {
	case m.sight != nil:
		return task.Seen{Container: m.container, Sight: *m.sight}
	case errors.Is(m.err, runtime.ErrNotFound):
		return task.Vanish{Container: m.container}
	}
	return nil
}
