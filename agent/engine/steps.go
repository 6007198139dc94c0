package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/image"
	"ecsagent/agent/resource"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// stepWork is one step on its way through a worker. It reads a snapshot, and makes
// its own before it writes; the actor's state stays the actor's.
type stepWork struct {
	e    *Engine
	box  *mailbox // of the task
	snap *task.Snapshot
	step task.Step

	in       dockerspec.Inputs // StepCreate, StepStart
	imageEnv []string
	hasImage bool
	ends     <-chan runtime.Event // see containerWork
}

// answer is what a worker brings back.
type answer struct {
	done task.Done
	// then is applied after done, e.g. the exit of a container that ran for a moment.
	then     task.Event
	imageEnv []string
	hasImage bool
	provided *resource.Provided // StepResource
}

type stepMessage struct{ answer }

// launch hands a step to a worker. Its answer comes through the mailbox, unless the
// engine ends meanwhile: then nothing is known and nothing is said.
func (a *actor) launch(ctx context.Context, s task.Step) {
	w := &stepWork{e: a.e, box: a.box, snap: a.snap.Load(), step: s}
	stepCtx, cancel := context.WithCancel(ctx)
	switch {
	case s.Kind == task.StepResource:
		a.provisions[s.Resource] = cancel
	case s.Kind == task.StepAgent:
		a.containers[s.Container].endAgent = cancel
		a.e.watchExecs()
	case s.OfContainer():
		cw := &a.containers[s.Container]
		w.imageEnv, w.hasImage = cw.imageEnv, cw.hasImage
		if s.Kind == task.StepManifest || s.Kind == task.StepPull {
			cw.cancel = cancel
		}
		if s.Kind == task.StepStop {
			cw.ends = make(chan runtime.Event, 1)
			w.ends = cw.ends
		}
		if s.Kind == task.StepCreate || s.Kind == task.StepStart {
			w.in = a.inputs(s.Container)
		}
	}
	a.outstanding++
	a.e.workers.Go(func() {
		defer cancel()
		result := w.run(stepCtx)
		if ctx.Err() == nil {
			a.box.put(stepMessage{result})
		}
	})
}

func (m stepMessage) handle(a *actor) {
	a.outstanding--
	s, now := m.done.Step, time.Now()
	switch {
	case s.Kind == task.StepResource:
		a.provided[s.Resource], a.provisions[s.Resource] = m.provided, nil
		if m.provided != nil {
			m.done.Agents = m.provided.Agents
		}
	case s.OfContainer():
		cw := &a.containers[s.Container]
		cw.stops, cw.ends = 0, nil
		cw.takenDown = s.Kind == task.StepStop && !m.done.Unstopped
		if m.hasImage {
			cw.imageEnv, cw.hasImage = m.imageEnv, true
		}
		if s.Kind == task.StepManifest || s.Kind == task.StepPull {
			cw.cancel = nil
		}
		if s.Kind == task.StepCreate && len(m.done.HostPorts) > 0 {
			a.keepPorts(s.Container, m.done.HostPorts)
		}
		if s.Kind == task.StepStop && !m.done.Unstopped && m.done.Sight == nil {
			m.done.Sight = cw.ending()
		}
	}
	a.apply(m.done, now)
	if m.then != nil {
		a.apply(m.then, now)
	}
	switch {
	case s.OfContainer():
		a.catchUp(s.Container)
	case s.Kind == task.StepAgent:
		a.agentAnswered(s.Container)
	}
}

// ending is what a held event tells of the end of a container that could not be
// looked at any more.
func (w *containerWork) ending() *task.Sight {
	for _, ev := range w.held {
		if ev.Type == runtime.EventDie {
			return &task.Sight{Status: task.ContainerStopped, ExitCode: ev.ExitCode, FinishedAt: ev.Time}
		}
	}
	return nil
}

// keepPorts remembers that a container holds host ports, unless it stopped while it
// was being created.
func (a *actor) keepPorts(i int, ports []uint16) {
	if a.st.Containers[i].Known == task.ContainerStopped {
		a.e.opt.HostPorts.Release(a.spec.Published(i), ports)
		return
	}
	a.containers[i].ports = true
}

// run does the step. A panic is that step's failure and nobody else's.
func (w *stepWork) run(ctx context.Context) (result answer) {
	defer func() {
		if cause := recover(); cause != nil {
			w.e.log.Error("step panicked", zap.String("task", w.snap.ARN), zap.Stringer("step", w.step.Kind),
				zap.Any("error", cause), zap.ByteString("stack", debug.Stack()))
			result.done = task.Done{Err: &task.Error{Message: fmt.Sprintf("internal error in step %s: %v", w.step.Kind, cause)}}
		}
		result.done.Step = w.step
	}()
	switch w.step.Kind {
	case task.StepVolume:
		result.done.Err = w.volume(ctx)
	case task.StepResource:
		w.provision(ctx, &result)
	case task.StepManifest:
		w.manifest(ctx, &result)
	case task.StepPull:
		w.pull(ctx, &result)
	case task.StepCreate:
		w.create(ctx, &result)
	case task.StepStart, task.StepRestart:
		w.start(ctx, &result)
	case task.StepStop:
		w.stop(ctx, &result)
	case task.StepProvision:
		w.setUpNetwork(ctx, &result)
	case task.StepAgent:
		w.agent(ctx, &result)
	}
	if err := result.done.Err; err != nil {
		if hidden := w.in.Hide(err.Message); hidden != err.Message {
			result.done.Err = &task.Error{Name: err.Name, Message: hidden}
		}
	}
	return result
}

func (w *stepWork) container() *task.Container { return &w.snap.Containers[w.step.Container] }

func (w *stepWork) state() *task.ContainerState { return &w.snap.State.Containers[w.step.Container] }

// own is the container's state to write to, in a snapshot that is the worker's own.
func (w *stepWork) own() *task.ContainerState {
	w.snap = w.snap.State.Snapshot(w.snap.Spec)
	return w.state()
}

func (w *stepWork) imageRequest() image.Request {
	c := w.container()
	return image.Request{
		Ref: c.Image, Auth: c.RegistryAuth,
		ExecutionCredentialsID: w.snap.ExecutionCredentialsID, Digest: w.state().ImageDigest,
	}
}

func (w *stepWork) manifest(ctx context.Context, r *answer) {
	if !w.container().Pulled() {
		return
	}
	digest, err := w.e.opt.Images.Digest(ctx, w.imageRequest())
	if r.stops(err) {
		return
	}
	r.done.Digest = digest
	r.done.Err = reason(err, "CannotPullImageManifestError")
}

func (w *stepWork) pull(ctx context.Context, r *answer) {
	if !w.container().Pulled() {
		return
	}
	err := w.ensureImage(ctx, r)
	if r.stops(err) {
		return
	}
	r.done.Err = reason(err, "CannotPullContainerError")
}

// stops reports whether an error stops the task for a reason that is no container's
// (docs/spec/02 section 2.4).
func (r *answer) stops(err error) bool {
	var secret *image.SecretError
	if !errors.As(err, &secret) {
		return false
	}
	r.then = task.Fail{Reason: task.ResourceReason(secret.Reason)}
	return true
}

// ensureImage gets the image and remembers what it says of itself.
func (w *stepWork) ensureImage(ctx context.Context, r *answer) error {
	got, err := w.e.opt.Images.Ensure(ctx, w.imageRequest())
	r.done.ImageID, r.done.Digest = got.ImageID, got.Digest
	r.done.PullStart, r.done.PullStop = got.StartedAt, got.StoppedAt
	r.imageEnv, r.hasImage = got.Env, true
	w.imageEnv = got.Env
	return err
}

func (w *stepWork) create(ctx context.Context, r *answer) {
	ports := w.snap.Spec.Published(w.step.Container)
	chosen := w.state().HostPorts
	if len(ports) > 0 && len(chosen) == 0 {
		var err error
		if chosen, err = w.e.opt.HostPorts.Allocate(ports); err != nil {
			r.done.Err = reason(err, "HostConfigError")
			return
		}
		w.own().HostPorts = chosen
	}
	id, err := w.createWithImage(ctx, r)
	if err != nil {
		w.e.opt.HostPorts.Release(ports, chosen)
		r.done.Err = reason(err, "CannotCreateContainerError")
		return
	}
	r.done.RuntimeID, r.done.HostPorts = id, chosen
}

// createWithImage creates the container, and sees to its image where that is needed.
func (w *stepWork) createWithImage(ctx context.Context, r *answer) (string, error) {
	if !w.hasImage && w.container().Pulled() {
		// Restored between pull and create. When this fails, create will say so.
		_ = w.ensureImage(ctx, r)
	}
	id, err := w.createNow(ctx)
	if errors.Is(err, runtime.ErrNotFound) && w.container().Internal() && w.e.opt.LoadPause != nil {
		if w.e.opt.LoadPause(ctx) == nil {
			id, err = w.createNow(ctx)
		}
	}
	if errors.Is(err, runtime.ErrNotFound) && w.state().ImageID != "" {
		// The image went away after it was got, e.g. in a clean-up by hand.
		w.e.opt.Images.Forget(w.container().Image)
		if w.ensureImage(ctx, r) == nil {
			id, err = w.createNow(ctx)
		}
	}
	return id, err
}

func (w *stepWork) createNow(ctx context.Context) (string, error) {
	in := w.in
	in.ImageEnv = w.imageEnv
	request, err := w.e.opt.Builder.Build(w.snap.Spec, w.step.Container, &w.snap.State, in)
	if err != nil {
		return "", err
	}
	if err := w.e.creates.take(ctx); err != nil {
		return "", err
	}
	defer w.e.creates.leave()
	return w.e.opt.Runtime.Create(ctx, request)
}

// start starts the container and looks at it. One that has exited by then is
// reported as running first (docs/spec/02 section 2.6.1).
func (w *stepWork) start(ctx context.Context, r *answer) {
	id := w.state().RuntimeID
	var err error
	if id == "" { // the agent ended between its renaming and its creation
		if id, err = w.createWithImage(ctx, r); err != nil {
			r.done.Err = reason(err, "CannotCreateContainerError")
			return
		}
		r.done.RuntimeID = id
	}
	if id, err = w.startWithPorts(ctx, r, id); err != nil {
		r.done.Err = reason(err, "CannotStartContainerError")
		r.done.Uncertain = mayRun(err, r.done.Err)
		return
	}
	seen, err := w.e.opt.Runtime.Inspect(ctx, id)
	if err != nil {
		r.done.Err = reason(err, "CannotInspectContainerError")
		r.done.Uncertain = !errors.Is(err, runtime.ErrNotFound)
		return
	}
	if err := w.awaitAddress(ctx, &seen); err != nil {
		r.done.Err, r.done.Uncertain = reason(err, "CannotStartContainerError"), true
		return
	}
	if err := w.tellStarted(ctx, &seen); err != nil {
		r.done.Err, r.done.Uncertain = reason(err, "CannotStartContainerError"), true
		return
	}
	sight := sightOf(&seen)
	r.done.Sight = sight
	if sight.Status == task.ContainerStopped {
		r.then = task.Exit{Container: w.step.Container, ExitCode: sight.ExitCode, Sight: sight, Time: sight.FinishedAt}
	}
}

// tellStarted gives a container what it can only have while it runs, and looks at it
// again: it may have ended meanwhile, which is no failure of the start.
func (w *stepWork) tellStarted(ctx context.Context, seen *runtime.Container) error {
	if w.e.opt.Started == nil || w.container().Internal() || seen.Status != task.ContainerRunning {
		return nil
	}
	failed := w.e.opt.Started(ctx, w.snap, seen)
	again, err := w.e.opt.Runtime.Inspect(ctx, seen.ID)
	if err != nil {
		return errors.Join(failed, err)
	}
	*seen = again
	if seen.Status == task.ContainerStopped {
		return nil
	}
	return failed
}

func (w *stepWork) startNow(ctx context.Context, id string) error {
	if err := w.e.starts.take(ctx); err != nil {
		return err
	}
	defer w.e.starts.leave()
	return w.e.opt.Runtime.Start(ctx, id)
}

// mayRun reports whether a start that failed may have taken effect (docs/spec/02
// section 2.6).
func mayRun(err error, shown *task.Error) bool {
	return errors.Is(err, runtime.ErrTimeout) || errors.Is(err, runtime.ErrUnavailable) ||
		shown.Name == "DockerTimeoutError" || strings.HasSuffix(shown.Message, "EOF")
}

// reason is what ECS shows of an error: the one it carries, or its text under a
// name.
func reason(err error, name string) *task.Error {
	if err == nil {
		return nil
	}
	var shown *task.Error
	if errors.As(err, &shown) {
		return shown
	}
	return &task.Error{Name: name, Message: err.Error()}
}

// sightOf puts what the runtime shows into the task's words.
func sightOf(c *runtime.Container) *task.Sight {
	s := &task.Sight{
		Status: c.Status, RuntimeID: c.ID, Name: c.Name, ImageID: c.Image,
		ExitCode: c.ExitCode, OOM: c.OOM, StateError: c.Error,
		CreatedAt: c.CreatedAt, StartedAt: c.StartedAt, FinishedAt: c.FinishedAt,
		Bindings: c.Bindings, Mounts: c.Mounts,
		HasHealthCheck: c.HasHealthCheck, Health: c.Health, HealthStarting: c.HealthStarting, HealthOutput: c.HealthOutput,
		HealthExitCode: c.HealthExitCode, Labels: c.Labels,
	}
	for name, n := range c.Networks {
		s.Networks = append(s.Networks, task.Network{Name: name, IPv4: n.IPv4, IPv6: n.IPv6, MAC: n.MAC, Gateway: n.Gateway})
	}
	sortNetworks(s.Networks)
	return s
}
