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

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/failpoint"
	"ecsagent/agent/resource"
	"ecsagent/agent/task"
)

// Hook makes one kind of resource for tasks: cgroups, secrets, files (docs/spec/02
// chapter 7). docs/architecture.md tells how to add one. Its methods are called from
// many goroutines, but never twice at once for one resource.
type Hook interface {
	// Kind is the word by which resources name their hook.
	Kind() string
	// Needs lists what a task needs of this kind, when it is accepted. It is pure but
	// for chance: nothing is made yet. An error is the cause for which the task is
	// rejected, as ECS shows it.
	Needs(spec *task.Spec) ([]task.Resource, error)
	// Preview is what Provision would give, with placeholders for what only it can
	// know. It is pure.
	Preview(spec *task.Spec, r *task.Resource) resource.Provided
	// Provision makes the resource exist. It may find what an earlier attempt made,
	// whole or in part, and takes it over. When the answer is an error, ECS is shown the
	// *task.Error in it, or else its text.
	Provision(ctx context.Context, s *task.Snapshot, r *task.Resource) (resource.Provided, error)
	// CleanUp removes what Provision made, if it did. The task's containers are gone by
	// then. It is called until it succeeds, and may be called again after that. data is
	// what the last Provision gave to remember.
	CleanUp(ctx context.Context, s *task.Snapshot, r *task.Resource, data map[string]string) error
}

// Sweeper is a Hook that finds what is left of tasks that no record tells of.
type Sweeper interface {
	Hook
	// Sweep removes it. It is called when the agent starts; known reports whether there
	// is a task of this id, and must be asked after what is left was found.
	Sweep(ctx context.Context, known func(taskID string) bool) error
}

// Drainer is a Hook that has something to say before a container of the task is stopped.
type Drainer interface {
	Hook
	// Drain is called before the stop of each container, until it has succeeded once. A
	// failure does not keep the container from being stopped.
	Drain(ctx context.Context, s *task.Snapshot, r *task.Resource) error
}

// drain tells the hooks that want to know that the task's containers begin to stop.
func (w *stepWork) drain(ctx context.Context) {
	for i := range w.snap.Resources {
		r := &w.snap.Resources[i]
		d, ok := hookOf(w.e.opt.Hooks, r.Kind).(Drainer)
		if !ok || !w.e.drained.begin(w.snap.ARN) {
			continue
		}
		err := d.Drain(ctx, w.snap, r)
		w.e.drained.end(w.snap.ARN, err == nil)
		if err != nil {
			w.e.log.Warn("task not drained before its containers stop", zap.String("task", w.snap.ARN), zap.String("resource", r.Name), zap.Error(err))
		}
	}
}

// drains remembers which tasks have been drained. Containers of a task may stop at the
// same time: one of them drains, and the others do not wait for that.
type drains struct {
	mu   sync.Mutex
	task map[string]bool // false: under way
}

// begin reports whether the task is to be drained now.
func (d *drains) begin(arn string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, begun := d.task[arn]; begun {
		return false
	}
	if d.task == nil {
		d.task = make(map[string]bool)
	}
	d.task[arn] = false
	return true
}

// end notes how that went.
func (d *drains) end(arn string, done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.task[arn] = done; !done {
		delete(d.task, arn)
	}
}

// forget is called when the task is gone.
func (d *drains) forget(arn string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.task, arn)
}

// Bounds of what hooks do. A hook bounds its own calls more tightly.
const (
	provisionLimit = 5 * time.Minute
	removeLimit    = 2 * time.Minute
	sweepLimit     = 5 * time.Minute
)

// NeedsOf adds to a task what the hooks find that it needs.
func NeedsOf(hooks []Hook, spec *task.Spec) error {
	spec.Resources = nil
	for _, h := range hooks {
		list, err := h.Needs(spec)
		if err != nil {
			return err
		}
		for i := range list {
			list[i].Kind = h.Kind()
		}
		spec.Resources = append(spec.Resources, list...)
	}
	return nil
}

// Preview is what a container's resources would give it.
func Preview(hooks []Hook, spec *task.Spec, container string) (in dockerspec.Inputs) {
	for i := range spec.Resources {
		r := &spec.Resources[i]
		if h := hookOf(hooks, r.Kind); h != nil && r.For(container) {
			given := h.Preview(spec, r)
			given.AddTo(&in, container)
		}
	}
	return in
}

func hookOf(hooks []Hook, kind string) Hook {
	for _, h := range hooks {
		if h.Kind() == kind {
			return h
		}
	}
	return nil
}

// provision is the step that makes a resource.
func (w *stepWork) provision(ctx context.Context, r *answer) {
	what := &w.snap.Resources[w.step.Resource]
	h := hookOf(w.e.opt.Hooks, what.Kind)
	if h == nil {
		r.done.Err = &task.Error{Name: "ResourceInitializationError", Message: what.Text + ": switched off on this container instance"}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, provisionLimit)
	defer cancel()
	var given resource.Provided
	err := around("provision", func() (err error) {
		given, err = h.Provision(ctx, w.snap, what)
		return err
	})
	r.done.Data = given.Data
	if err != nil {
		w.e.log.Warn("task resource not made", zap.String("task", w.snap.ARN), zap.String("resource", what.Name), zap.Error(err))
		name := ""
		if what.Blames {
			name = "ResourceInitializationError"
		}
		r.done.Err = reason(err, name)
		return
	}
	r.provided = &given
}

// around calls f between the failpoints of a place.
func around(place string, f func() error) error {
	if err := failpoint.Before("resource", place); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return failpoint.After("resource", place)
}

// inputs is what a container gets of the resources that were made for it.
func (a *actor) inputs(container int) (in dockerspec.Inputs) {
	name := a.spec.Containers[container].Name
	for i, p := range a.provided {
		if p != nil && a.spec.Resources[i].For(name) {
			p.AddTo(&in, name)
		}
	}
	return in
}

// dropProvided forgets what no container needs any more, and ends the making of
// resources for a task that stops.
func (a *actor) dropProvided() {
	for i := range a.provided {
		if a.provided[i] != nil && !task.ResourceNeeded(a.spec, &a.st, i) {
			a.provided[i] = nil
		}
		if cancel := a.provisions[i]; cancel != nil && a.st.Desired == task.Stopped {
			cancel()
			a.provisions[i] = nil
		}
	}
}

// removeResources cleans up in reverse order, and goes on after a failure.
func (e *Engine) removeResources(ctx context.Context, snap *task.Snapshot) error {
	var failed []error
	for i, r := range slices.Backward(snap.Resources) {
		h := hookOf(e.opt.Hooks, r.Kind)
		if h == nil {
			e.log.Warn("task resource left alone: its kind is switched off", zap.String("task", snap.ARN), zap.String("resource", r.Name))
			continue
		}
		var data map[string]string
		if i < len(snap.State.Resources) {
			data = snap.State.Resources[i].Data
		}
		ctx, cancel := context.WithTimeout(ctx, removeLimit)
		if err := around("clean-up", func() error { return h.CleanUp(ctx, snap, &snap.Resources[i], data) }); err != nil {
			failed = append(failed, fmt.Errorf("remove %s: %w", r.Text, err))
		}
		cancel()
	}
	return errors.Join(failed...)
}

// sweep lets every hook look for what is left of tasks that are not known.
func (e *Engine) sweep(ctx context.Context) {
	for _, h := range e.opt.Hooks {
		s, ok := h.(Sweeper)
		if !ok {
			continue
		}
		e.workers.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, sweepLimit)
			defer cancel()
			if err := s.Sweep(ctx, e.knowsID); err != nil && ctx.Err() == nil {
				e.log.Warn("what is left of former tasks not removed", zap.String("resource", s.Kind()), zap.Error(err))
			}
		})
	}
}

// knowsID reports whether there is a task with this id. Tasks are stored before
// anything is made for them.
func (e *Engine) knowsID(id string) (found bool) {
	end := "/" + id
	e.tasks.Range(func(arn, _ any) bool {
		found = strings.HasSuffix(arn.(string), end)
		return !found
	})
	return found
}
