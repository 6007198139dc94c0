package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Back-off of a reconciliation that failed because Docker did not answer.
const (
	reconcileRetryMin  = 500 * time.Millisecond
	reconcileRetryMax  = 30 * time.Second
	reconcileRetryGrow = 1.5
	reconcileJitter    = 0.2
	inspectsAtOnce     = 8
)

// quietLooks is how often an agent without tasks goes on looking: what Docker finished
// late, such as a create that was given up, is found then. After that there is nobody
// left who could have begun something, and Docker is asked no more.
const quietLooks = 2

// laterSweeps is with how many of the periodic looks after the start what is left of former
// tasks is looked for once more: some of it was too young then. What comes later is of tasks
// that are known, and an idle agent leaves the host alone.
const laterSweeps = 3

// reconcileForever looks at all containers once before any task goes on, and then
// whenever events may have been missed and every few minutes.
func (e *Engine) reconcileForever(ctx context.Context) {
	if !e.reconcileUntilDone(ctx, true) {
		return
	}
	e.admitRestored()
	close(e.ready)
	e.sweep(ctx)
	for sweeps := laterSweeps; ; {
		period := time.Duration(float64(e.opt.ReconcileEvery) * (1 + 0.1*e.opt.Random()))
		timer := time.NewTimer(period)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-e.look:
			timer.Stop()
		case <-timer.C:
			if sweeps > 0 {
				sweeps--
				e.sweep(ctx)
			}
		}
		if !e.reconcileUntilDone(ctx, false) {
			return
		}
	}
}

// reconcileUntilDone repeats until Docker answered everything; false means that ctx
// ended first. A container that cannot be looked at is not taken for stopped.
func (e *Engine) reconcileUntilDone(ctx context.Context, startup bool) bool {
	wait := reconcileRetryMin
	for {
		err := e.reconcile(ctx, startup)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		pause := wait + time.Duration(float64(wait)*reconcileJitter*e.opt.Random())
		e.log.Warn("containers not reconciled", zap.Error(err), zap.Duration("retry_in", pause))
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-e.look: // the event stream is up again, so Docker is
			timer.Stop()
		case <-timer.C:
		}
		wait = min(time.Duration(float64(wait)*reconcileRetryGrow), reconcileRetryMax)
	}
}

// seenMessage is what an inspect of the reconciliation showed.
type seenMessage struct {
	container int
	startup   bool
	sight     *task.Sight
}

// vanishMessage says that Docker no longer has the container.
type vanishMessage struct {
	container int
	id        string
}

// reconcile compares one List of all containers with what is known and inspects
// only what differs (docs/spec/02 section 2.12).
func (e *Engine) reconcile(ctx context.Context, startup bool) error {
	quiet := e.idle() && !e.busy.Swap(false)
	if !quiet {
		e.quiet = 0
	} else if !startup && e.quiet >= quietLooks {
		return nil
	}
	list, err := e.opt.Runtime.List(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	found := make(map[containerKey][]*runtime.Container, len(list))
	for i := range list {
		k := containerKey{list[i].Labels[runtime.LabelTaskARN], list[i].Labels[runtime.LabelContainerName]}
		found[k] = append(found[k], &list[i])
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(inspectsAtOnce)
	e.eachActor(func(a *actor) {
		snap := a.snap.Load()
		for i := range snap.Containers {
			candidates := found[containerKey{snap.ARN, snap.Containers[i].Name}]
			if id := differs(snap, i, candidates, startup); id != "" {
				group.Go(func() error { return e.compare(groupCtx, a, i, id, startup) })
			}
		}
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if err := e.leftovers(ctx, list, startup); err != nil {
		return err
	}
	if quiet && !startup {
		e.quiet++
	}
	return nil
}

type containerKey struct{ arn, name string }

func (e *Engine) idle() bool {
	idle := true
	e.eachActor(func(*actor) { idle = false })
	return idle
}

// differs returns the id of a container that must be inspected because the list and
// what is known of it do not agree; empty when they do.
func differs(snap *task.Snapshot, i int, candidates []*runtime.Container, startup bool) string {
	c := &snap.State.Containers[i]
	if c.Applied >= task.ContainerCreated {
		return "" // the step under way will tell
	}
	match := match(c, candidates, startup)
	if match == nil {
		if c.Known == task.ContainerStopped {
			return ""
		}
		return c.RuntimeID // gone, or made since the list: ask once more
	}
	same := c.RuntimeID == match.ID
	// Health may have changed unseen while the agent was down.
	probed := startup && snap.Containers[i].HealthCheckType != ""
	// Docker may be in the middle of a start that the last process asked for. An inspect
	// waits for its end; a second start would be a second run of what ends quickly.
	starting := startup && match.Status == task.ContainerCreated
	switch {
	case c.Known == task.ContainerStopped && match.Status != task.ContainerRunning,
		same && c.Known.IsRunning() && match.Status == task.ContainerRunning && !probed && !c.Restarting,
		same && c.Known == match.Status && !starting:
		return ""
	}
	return match.ID
}

// match finds the container among those that carry its labels: by id, by the chosen
// name, or, when the record of both was lost, as the only candidate.
func match(c *task.ContainerState, candidates []*runtime.Container, startup bool) *runtime.Container {
	for _, k := range candidates {
		if c.RuntimeID != "" && k.ID == c.RuntimeID || c.RuntimeID == "" && k.Name == c.DockerName {
			return k
		}
	}
	if startup && c.RuntimeID == "" && c.Known == task.ContainerNone && len(candidates) == 1 {
		return candidates[0]
	}
	return nil
}

func (e *Engine) compare(ctx context.Context, a *actor, i int, id string, startup bool) error {
	seen, err := e.opt.Runtime.Inspect(ctx, id)
	switch {
	case errors.Is(err, runtime.ErrNotFound):
		a.box.put(vanishMessage{container: i, id: id})
		return nil
	case err != nil:
		return fmt.Errorf("inspect container %s: %w", id, err)
	}
	if seen.Status != task.ContainerStopped {
		a.found.Store(true)
	}
	a.box.put(seenMessage{container: i, startup: startup, sight: sightOf(&seen)})
	return nil
}

func (m seenMessage) handle(a *actor) {
	c := &a.st.Containers[m.container]
	if w := &a.containers[m.container]; w.looking {
		w.seen = &m
		return
	}
	if c.RuntimeID != "" && c.RuntimeID != m.sight.RuntimeID {
		return
	}
	if c.Known == task.ContainerNone && c.RuntimeID == "" {
		a.log.Info("container adopted", zap.String("container", a.spec.Containers[m.container].Name), zap.String("id", m.sight.RuntimeID))
	}
	a.apply(task.Seen{Container: m.container, Sight: *m.sight, Startup: m.startup}, time.Now())
}

func (m vanishMessage) handle(a *actor) {
	if !a.containers[m.container].looking && a.st.Containers[m.container].RuntimeID == m.id {
		a.apply(task.Vanish{Container: m.container}, time.Now())
	}
}

// admitRestored accounts for tasks of the last run that had got somewhere, queues
// the others in the order in which they came, and opens the admission.
func (e *Engine) admitRestored() {
	var restored []*actor
	e.eachActor(func(a *actor) {
		if a.restored {
			restored = append(restored, a)
		}
	})
	slices.SortFunc(restored, func(a, b *actor) int {
		return a.snap.Load().State.AcceptedAt.Compare(b.snap.Load().State.AcceptedAt)
	})
	for _, a := range restored {
		st := &a.snap.Load().State
		switch want := demandOf(a.spec); {
		case st.Known == task.Stopped:
		case a.found.Load() || progressed(st):
			e.admission.force(a.spec.ARN, want)
			a.box.put(admittedMessage{})
		default:
			e.admission.enqueue(a.spec.ARN, want, st.AcceptedAt)
		}
	}
	e.grant(e.admission.start(time.Now()))
}

func progressed(st *task.State) bool {
	for i := range st.Containers {
		if k := st.Containers[i].Known; k >= task.ContainerManifestPulled && k < task.ContainerStopped {
			return true
		}
	}
	return false
}
