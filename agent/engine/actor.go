package engine

import (
	"context"
	"maps"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/resource"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// actor owns one task. Everything in it but box, snap, story and saver belongs to
// its goroutine.
type actor struct {
	e    *Engine
	spec *task.Spec
	log  *zap.Logger

	box  *mailbox
	snap atomic.Pointer[task.Snapshot]
	// story is told after each batch of messages, so it may lag behind snap a moment.
	story atomic.Pointer[story]
	sav   saver

	st       task.State
	sent     task.Status // what ECS has accepted
	dirty    bool        // st has changes that were not handed to the saver
	restored bool        // from the last run; its containers may exist
	found    atomic.Bool // reconciliation found a container of it that has not ended
	admitted bool
	released bool // host resources were given back

	containers  []containerWork
	provided    []*resource.Provided // by index into Spec.Resources; secrets live here, and nowhere else
	provisions  []context.CancelFunc // of the resources that are being made
	outstanding int                  // workers that will answer
	unsaved     bool                 // the disk refuses the state
	chron       chronicle
	// Room that record and waits use again and again.
	changes []task.Entry
	waiting []task.Wait

	cleanup cleanupState
	milestones
}

// containerWork is what goes on around one container.
type containerWork struct {
	cancel  context.CancelFunc // of the image step under way
	looking bool               // an inspect is under way
	seen    *seenMessage       // what the reconciliation saw meanwhile, should the inspect fail
	oom     bool               // Docker told of an OOM kill
	held    []runtime.Event    // events that wait for the step or the inspect to end
	// imageEnv is the image's environment; known when the image was seen by this
	// process.
	imageEnv  []string
	hasImage  bool
	ports     bool // its host ports are held
	stops     int  // attempts to stop it that failed, of the step under way
	takenDown bool // a stop of it gave the task's network back
	// endAgent ends the start of its exec agent that is under way; execEnds came meanwhile.
	endAgent context.CancelFunc
	execEnds []execMessage
	// ends takes the end that Docker tells of while a stop is under way; nil otherwise.
	ends chan runtime.Event
}

// message is what an actor hears. Its handle runs on the actor's goroutine.
type message interface{ handle(*actor) }

type (
	// desireMessage asks for a status; answer is called once that is durable.
	desireMessage struct {
		status task.Status
		answer func(error)
	}
	// admittedMessage grants the host's resources, or refuses them with a reason.
	admittedMessage struct{ reason string }
	sentMessage     struct{ sent task.Sent }
	wakeMessage     struct{}
)

func newActor(e *Engine, rec *task.Record) *actor {
	a := &actor{
		e: e, spec: rec.Spec, st: rec.State, sent: rec.Sent.Task,
		log:        e.log.With(zap.String("task", rec.Spec.ARN)),
		box:        newMailbox(),
		containers: make([]containerWork, len(rec.Spec.Containers)), milestones: newMilestones(),
	}
	if n := len(rec.Spec.Resources); n > 0 {
		a.provided, a.provisions = make([]*resource.Provided, n), make([]context.CancelFunc, n)
	}
	a.sav = saver{e: e, arn: rec.Spec.ARN, box: a.box}
	a.chron.begin(rec)
	a.publish()
	a.tell()
	return a
}

// run is the actor: one message at a time, then what may be done next. It ends with
// ctx, or when the task has been cleaned up.
func (a *actor) run(ctx context.Context) {
	defer a.cancelImages()
	// ECS may not have heard of what was known before a restart.
	a.sav.add(saveItem{snap: a.snap.Load(), durable: !a.dirty})
	a.dirty = false
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	ready, recalling := a.e.ready, a.restored
	for {
		// A step before Docker's answer about the last process is in could repeat what that
		// had under way.
		recalling = recalling && (ready != nil || a.looking())
		if !recalling && ready == nil {
			if wake := a.proceed(ctx); !wake.IsZero() {
				timer.Reset(max(0, time.Until(wake)))
			} else {
				timer.Stop()
			}
		} else {
			timer.Stop()
			a.chron.wait([]task.Wait{{Container: -1, For: task.WaitLook}}, time.Now())
		}
		a.tell()
		a.reach(a.st.Known, a.sent)
		select {
		case <-ctx.Done():
			return
		case <-ready:
			ready = nil
		case <-timer.C:
		case <-a.box.signal:
		}
		for _, m := range a.box.take() {
			m.handle(a)
		}
		if a.cleanup.done {
			a.leave()
			return
		}
	}
}

// proceed starts what may be done now and returns when to look again without being
// told.
func (a *actor) proceed(ctx context.Context) time.Time {
	now := time.Now()
	before := a.snap.Load()
	rules := a.rules()
	moves := task.Settle(a.spec, &a.st, now, rules)
	for _, s := range moves.Steps {
		task.Apply(a.spec, &a.st, task.Begin{Step: s}, now, rules)
	}
	if len(moves.Steps) > 0 || significant(&before.State, &a.st) {
		a.changed(before, now)
	}
	for _, s := range moves.Steps {
		a.launch(ctx, s)
	}
	if a.chron.wait(a.waits(moves.Waits), now) {
		a.logWaits(moves.Waits)
	}
	wake := moves.Wake
	for _, w := range moves.Waits {
		if w.For == task.WaitCredentials {
			wake = earliest(wake, now.Add(time.Minute))
		}
	}
	return earliest(wake, a.planCleanup(ctx, now))
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (a *actor) rules() task.Rules {
	r := a.e.rules
	r.Admitted = a.admitted
	id := a.spec.ExecutionCredentialsID
	r.NoExecutionCredentials = id != "" && a.e.opt.Credentials != nil && !a.e.opt.Credentials.Has(id)
	return r
}

// apply works one event into the state and makes the change known.
func (a *actor) apply(event task.Event, now time.Time) {
	before := a.snap.Load()
	task.Apply(a.spec, &a.st, event, now, a.rules())
	a.changed(before, now)
}

func (a *actor) publish() {
	snap := a.st.Snapshot(a.spec)
	a.snap.Store(snap)
	if p := a.e.opt.Pictures; p != nil {
		p.Published(snap)
	}
}

// changed publishes the state and has it saved when something changed that must not
// be lost or that ECS should hear of. The rest is saved along with that.
func (a *actor) changed(before *task.Snapshot, now time.Time) {
	a.publish()
	a.record(&before.State, now)
	a.dirty = true
	if a.st.Known == task.Stopped && before.State.Known != task.Stopped {
		a.release()
	}
	a.dropWork()
	a.dropAgents()
	a.networkEnded(&before.State)
	a.dropProvided()
	a.logChange(&before.State)
	if lasting(&before.State, &a.st) {
		a.save(nil)
	}
}

// save hands the state to the saver; answer is called once it is durable.
func (a *actor) save(answer func(error)) {
	item := saveItem{answer: answer}
	if a.dirty {
		item.snap = a.snap.Load()
		a.dirty = false
	}
	a.sav.add(item)
}

// release gives the host's resources back. It comes before ECS hears that the task
// stopped (docs/spec/02 section 11.1, C9).
func (a *actor) release() {
	if !a.released {
		a.released, a.chron.told = true, false
		a.e.grant(a.e.admission.release(a.spec.ARN))
	}
}

// dropWork ends image steps whose container has stopped meanwhile and gives back
// the host ports of stopped containers.
func (a *actor) dropWork() {
	for i := range a.containers {
		c, w := &a.st.Containers[i], &a.containers[i]
		if c.Known != task.ContainerStopped {
			continue
		}
		if w.cancel != nil {
			w.cancel()
			w.cancel = nil
		}
		if w.ports && c.Applied == task.ContainerNone {
			w.ports = false
			a.e.opt.HostPorts.Release(a.spec.Published(i), c.HostPorts)
		}
	}
}

// restorePorts reserves the host ports of containers of the last run.
func (a *actor) restorePorts() {
	for i := range a.st.Containers {
		if c := &a.st.Containers[i]; len(c.HostPorts) > 0 && c.Known != task.ContainerStopped {
			a.e.opt.HostPorts.Restore(a.spec.Published(i), c.HostPorts)
			a.containers[i].ports = true
		}
	}
}

func (a *actor) cancelImages() {
	for i := range a.containers {
		if cancel := a.containers[i].cancel; cancel != nil {
			cancel()
		}
	}
}

// leave ends the actor after clean-up. Whoever still asked for something is
// answered: the task is over.
func (a *actor) leave() {
	a.reach(a.st.Known, a.sent)
	a.e.gone(a.spec.ARN) // before the ARN is free for another task
	a.e.tasks.Delete(a.spec.ARN)
	for _, m := range a.box.close() {
		if d, ok := m.(desireMessage); ok {
			d.answer(nil)
		}
	}
}

func (m desireMessage) handle(a *actor) {
	if m.status > a.st.Desired {
		a.log.Info("task is asked for another status", zap.Stringer("desired", m.status))
		a.apply(task.Desire{Status: m.status}, time.Now())
	}
	a.save(m.answer)
}

func (m admittedMessage) handle(a *actor) {
	if m.reason != "" {
		a.apply(task.Fail{Reason: m.reason}, time.Now())
		return
	}
	if !a.admitted {
		a.admitted = true
		a.note(-1, task.EventAdmitted, "")
	}
}

func (m sentMessage) handle(a *actor) {
	if m.sent.Task > a.sent {
		a.sent = m.sent.Task
		a.note(-1, task.EventReported, a.sent.String())
	}
}

func (wakeMessage) handle(*actor) {}

// significant reports whether a change is worth a new snapshot by itself.
func significant(before, after *task.State) bool {
	return before.Known != after.Known || lasting(before, after)
}

// lasting reports whether something changed that must not be lost or that ECS
// should hear of. What lies between, such as a container that was created, Docker
// remembers by the container's name.
func lasting(before, after *task.State) bool {
	if before.Desired != after.Desired || before.TerminalReason != after.TerminalReason {
		return true
	}
	if before.Known != after.Known && after.Known >= task.Running {
		return true
	}
	for i := range after.Resources {
		if !maps.Equal(before.Resources[i].Data, after.Resources[i].Data) {
			return true
		}
	}
	for i := range after.Containers {
		b, c := &before.Containers[i], &after.Containers[i]
		if b.Desired != c.Desired || b.DockerName != c.DockerName || b.Error != c.Error || b.RestartCount != c.RestartCount || b.Uncertain != c.Uncertain || !c.ExecAgent.Same(b.ExecAgent) {
			return true
		}
		if b.Known != c.Known && (c.Known.IsRunning() || c.Known == task.ContainerStopped ||
			c.Known == task.ContainerManifestPulled && c.ImageDigest != "") {
			return true
		}
	}
	return false
}

func (a *actor) logChange(before *task.State) {
	for i := range a.st.Containers {
		b, c := &before.Containers[i], &a.st.Containers[i]
		if g := c.ExecAgent; g != nil && g.Status != task.AgentNone && !g.Same(b.ExecAgent) {
			a.log.Info("exec agent changed", zap.String("container", a.spec.Containers[i].Name),
				zap.Stringer("status", g.Status), zap.String("reason", g.Reason))
		}
		if b.Known == c.Known && b.Error == c.Error {
			continue
		}
		fields := []zap.Field{zap.String("container", a.spec.Containers[i].Name), zap.Stringer("status", c.Known)}
		if c.ExitCode != nil {
			fields = append(fields, zap.Int("exit_code", *c.ExitCode))
		}
		if c.Error != nil {
			fields = append(fields, zap.Error(c.Error))
		}
		if passing(c.Known) && c.Error == nil {
			a.log.Debug("container changed", fields...)
		} else {
			a.log.Info("container changed", fields...)
		}
	}
	if (before.Known != a.st.Known && a.st.Known >= task.Running) || before.Desired != a.st.Desired {
		a.log.Info("task changed", zap.Stringer("status", a.st.Known), zap.Stringer("desired", a.st.Desired),
			zap.String("reason", a.st.TerminalReason))
	}
}

// logWaits tells why containers do not move.
func (a *actor) logWaits(waits []task.Wait) {
	if !a.log.Core().Enabled(zap.DebugLevel) {
		return
	}
	for _, w := range waits {
		fields := []zap.Field{zap.String("reason", w.Text(a.spec))}
		if w.Container >= 0 {
			fields = append(fields, zap.String("container", a.spec.Containers[w.Container].Name))
		}
		a.log.Debug("waiting", fields...)
	}
}

// passing reports whether a status is only on the way to another one.
func passing(s task.ContainerStatus) bool { return s < task.ContainerRunning }
