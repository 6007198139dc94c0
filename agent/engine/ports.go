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

// portRetries is how often a container is made anew because somebody else took a
// host port between its choice and its start (docs/spec/02 chapter 14, number 20).
const portRetries = 3

// errNotRenamed is the answer to a renaming that makes no sense any more.
var errNotRenamed = errors.New("container should not start any more")

// startWithPorts starts the container. When a host port that the agent chose was
// taken meanwhile, the container is made anew with others. It returns the id of the
// container that was tried last.
func (w *stepWork) startWithPorts(ctx context.Context, r *answer, id string) (string, error) {
	for retry := 0; ; retry++ {
		err := w.startNow(ctx, id)
		if !errors.Is(err, runtime.ErrPortTaken) || retry == portRetries || w.step.Kind != task.StepStart || !w.choosesPorts() {
			return id, err
		}
		if !w.otherPorts(ctx, id) {
			return id, err
		}
		r.done.RuntimeID = ""
		if id, err = w.createWithImage(ctx, r); err != nil {
			return "", err
		}
		r.done.RuntimeID = id
	}
}

// choosesPorts reports whether the agent chose a host port of the container.
func (w *stepWork) choosesPorts() bool {
	return slices.ContainsFunc(w.state().HostPorts, func(n uint16) bool { return n != 0 })
}

// otherPorts gives the container other host ports and another name, durably, and
// removes the one that was created with the old ones. false: it cannot be done.
func (w *stepWork) otherPorts(ctx context.Context, old string) bool {
	ports := w.snap.Spec.Published(w.step.Container)
	// The old ones are still held, so these are others.
	chosen, err := w.e.opt.HostPorts.Allocate(ports)
	if err != nil {
		return false
	}
	answered := make(chan error, 1)
	name := w.e.opt.Builder.ContainerName(w.snap.Spec, w.step.Container)
	w.box.put(renameMessage{
		event:  task.Rename{Container: w.step.Container, Name: name, HostPorts: chosen},
		answer: func(err error) { answered <- err },
	})
	select {
	case err = <-answered:
	case <-ctx.Done():
		return false
	}
	if err != nil {
		if errors.Is(err, errNotRenamed) {
			w.e.opt.HostPorts.Release(ports, chosen)
		}
		return false
	}
	c := w.own()
	c.DockerName, c.RuntimeID, c.HostPorts = name, "", chosen
	if err := w.e.opt.Runtime.Remove(ctx, old); err != nil && !errors.Is(err, runtime.ErrNotFound) {
		// Clean-up tries again.
		w.e.log.Warn("container with a taken host port not removed", zap.String("task", w.snap.ARN),
			zap.String("container", w.container().Name), zap.String("id", old), zap.Error(err))
	}
	return true
}

// renameMessage asks for another name and other host ports for a container whose
// start is under way. The answer comes once that is durable; after errNotRenamed the
// ports are still the sender's.
type renameMessage struct {
	event  task.Rename
	answer func(error)
}

func (m renameMessage) handle(a *actor) {
	i := m.event.Container
	c, w := &a.st.Containers[i], &a.containers[i]
	if c.Applied != task.ContainerRunning || c.Desired == task.ContainerStopped {
		m.answer(errNotRenamed)
		return
	}
	old := c.HostPorts
	w.held = nil // of the one that goes
	w.ports = true
	a.log.Warn("host port taken by somebody else, another is tried", zap.String("container", a.spec.Containers[i].Name),
		zap.Uint16s("ports", old))
	a.apply(m.event, time.Now())
	a.e.opt.HostPorts.Release(a.spec.Published(i), old)
	a.save(m.answer)
}
