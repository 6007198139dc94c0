package engine

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Network gives tasks of mode awsvpc their network, in the namespace of a container
// that does nothing but hold it (docs/spec/05 chapter 3). Each call bounds itself and may
// be repeated.
type Network interface {
	// Check says what of a task's network cannot be, before anything is made.
	Check(spec *task.Spec) error
	// SetUp makes the network and returns the task's address on the host's bridge. It may
	// find what an earlier, interrupted call made.
	SetUp(ctx context.Context, spec *task.Spec, container string, pid int) (local string, err error)
	// TearDown takes the interface out of the namespace and deletes what is left. pid is 0
	// when the namespace has ended.
	TearDown(ctx context.Context, spec *task.Spec, container string, pid int) error
	// Release gives the address on the bridge back.
	Release(ctx context.Context, spec *task.Spec, container string) error
}

// ConnectNetwork leads what the containers of a task with Service Connect in mode bridge
// send to services into the task's proxy, in the namespaces of their pause containers
// (docs/spec/05 section 6.7). Each call bounds itself and may be repeated.
type ConnectNetwork interface {
	// SetUp does so for a pause container, once that of the proxy has addresses.
	SetUp(ctx context.Context, s *task.Snapshot, pause, pid int) error
	// TearDown takes it back. pid is 0 when the namespace has ended.
	TearDown(ctx context.Context, s *task.Snapshot, pause, pid int) error
}

// setUpNetwork is the step that makes a task's network (docs/spec/05 section 3.6).
func (w *stepWork) setUpNetwork(ctx context.Context, r *answer) {
	fail := func(text string) {
		r.done.Err = &task.Error{Name: "ContainerNetworkingError", Message: "container resource provisioning: " + text}
	}
	bridged := w.snap.ConnectsBridged()
	if !bridged && w.e.opt.Network == nil || bridged && w.e.opt.Connect == nil {
		fail("task networking is switched off on this container instance")
		return
	}
	id := w.state().RuntimeID
	seen, err := w.e.opt.Runtime.Inspect(ctx, id)
	switch {
	case err != nil:
		fail("cannot setup task network namespace due to error inspecting pause container: " + err.Error())
		return
	case seen.Status != task.ContainerRunning || seen.Pid == 0:
		fail("cannot setup task network namespace: the pause container does not run")
		return
	}
	var local string
	if bridged {
		err = w.e.opt.Connect.SetUp(ctx, w.snap, w.step.Container, seen.Pid)
	} else {
		local, err = w.e.opt.Network.SetUp(ctx, w.snap.Spec, id, seen.Pid)
	}
	if err != nil {
		w.e.log.Warn("task network not set up", zap.String("task", w.snap.ARN), zap.Error(err))
		fail("failed to setup network namespace: " + err.Error())
		return
	}
	r.done.LocalAddress = local
}

// takeDownNetwork takes a task's interface out of its pause container, which is about to
// be stopped: the task is reported as stopped only after its interface has left the
// namespace (docs/spec/05 section 2.12). The address goes back once the container has
// stopped, which is what the returned function is for. A failure does not keep the
// container running: with the namespace the kernel gives the interface back by itself.
func (w *stepWork) takeDownNetwork(ctx context.Context, id string, r *answer) (stopped func()) {
	if w.container().Type != task.CNIPause || !w.e.networked(w.snap) {
		return func() {}
	}
	pid := 0
	if seen, err := w.e.opt.Runtime.Inspect(ctx, id); err == nil && seen.Status == task.ContainerRunning {
		id, pid = seen.ID, seen.Pid
	} else if err != nil && !errors.Is(err, runtime.ErrNotFound) {
		w.e.log.Warn("pause container not inspected", zap.String("task", w.snap.ARN), zap.Error(err))
	}
	if err := w.e.tearDown(ctx, w.snap, w.step.Container, id, pid); err != nil {
		w.e.log.Error("task network not taken down", zap.String("task", w.snap.ARN), zap.Error(err))
	}
	if w.snap.ConnectsBridged() {
		return func() {} // it has no address of ours
	}
	return func() {
		if r.done.Unstopped {
			return // it is stopped again, and may still have the address
		}
		if err := w.e.opt.Network.Release(ctx, w.snap.Spec, id); err != nil {
			w.e.log.Warn("address on the bridge not released", zap.String("task", w.snap.ARN), zap.Error(err))
		}
	}
}

// networkEnded gives a task's network back when its pause container has ended otherwise
// than by a stop of this process, which does that itself.
func (a *actor) networkEnded(before *task.State) {
	if !a.e.networked(a.snap.Load()) {
		return
	}
	for i := range a.spec.Containers {
		c := &a.st.Containers[i]
		ended := c.Known == task.ContainerStopped && before.Containers[i].Known != task.ContainerStopped
		if a.spec.Containers[i].Type != task.CNIPause || !ended || c.RuntimeID == "" || a.containers[i].takenDown {
			continue
		}
		snap := a.snap.Load()
		a.e.workers.Go(func() {
			if err := a.e.releaseNetwork(a.e.ctx, snap); err != nil {
				a.log.Warn("task network not given back, it is tried again at the clean-up", zap.Error(err))
			}
		})
	}
}

// releaseNetwork takes back what a task's network still has when the task is cleaned up:
// its pause container may have ended without being stopped.
func (e *Engine) releaseNetwork(ctx context.Context, snap *task.Snapshot) error {
	if !e.networked(snap) {
		return nil
	}
	var failed []error
	for i := range snap.Containers {
		if id := snap.State.Containers[i].RuntimeID; snap.Containers[i].Type == task.CNIPause && id != "" {
			failed = append(failed, e.tearDown(ctx, snap, i, id, 0))
			if !snap.ConnectsBridged() {
				failed = append(failed, e.opt.Network.Release(ctx, snap.Spec, id))
			}
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("release the task's network: %w", err)
	}
	return nil
}

// tearDown takes down what was set up in the namespace of a pause container.
func (e *Engine) tearDown(ctx context.Context, snap *task.Snapshot, pause int, id string, pid int) error {
	if snap.ConnectsBridged() {
		return e.opt.Connect.TearDown(ctx, snap, pause, pid)
	}
	return e.opt.Network.TearDown(ctx, snap.Spec, id, pid)
}

// networked reports whether there is a network to take back from a task. A task whose
// record was lost does not know its interface: the kernel gives that back with the
// namespace, and the address goes with the next sweep.
func (e *Engine) networked(snap *task.Snapshot) bool {
	if snap.ConnectsBridged() {
		return e.opt.Connect != nil
	}
	return e.opt.Network != nil && len(snap.ENIs) > 0
}

// checkNetwork is Network.Check; nil without a Network.
func (o *Options) checkNetwork() func(*task.Spec) error {
	if o.Network == nil {
		return nil
	}
	return o.Network.Check
}

// refusal is why a task cannot have its network; empty when it can or wants none.
func refusal(s *task.Spec, check func(*task.Spec) error) string {
	switch {
	case s.NetworkMode != "awsvpc" && s.Proxy != nil:
		return "the task came with a proxy configuration, but its network mode is " + s.NetworkMode + `; want "awsvpc"`
	case s.NetworkMode != "awsvpc" && len(s.ENIs) == 0:
		return ""
	case s.NetworkMode != "awsvpc":
		return "the task came with an elastic network interface, but its network mode is " + s.NetworkMode
	case check == nil:
		return "network mode awsvpc is not supported by this agent"
	}
	if err := check(s); err != nil {
		return err.Error()
	}
	return ""
}
