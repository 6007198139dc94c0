package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"ecsagent/agent/task"
)

// Deliver takes the work of one payload. It returns once everything is durable; it
// never waits for Docker or the network. Stops are handed over before starts
// (docs/spec/02 section 11.1, C6). For a task that is known only the desired status
// counts.
func (e *Engine) Deliver(ctx context.Context, d task.Delivery) error {
	if e.closing.Load() {
		return errHostStops
	}
	release, err := e.serially(ctx)
	if err != nil {
		return err
	}
	defer release()

	batch := newBatch(e, time.Now())
	for _, stops := range []bool{true, false} {
		for _, r := range d.Tasks {
			if (r.Desired == task.Stopped) == stops {
				batch.request(r)
			}
		}
	}
	for _, r := range d.Rejected {
		batch.reject(r)
	}
	if err := batch.store(d.Seq); err != nil {
		return err
	}
	return batch.wait(ctx)
}

// StopTasks asks tasks to stop, durably. Those not known are passed over.
func (e *Engine) StopTasks(ctx context.Context, arns []string) error {
	release, err := e.serially(ctx)
	if err != nil {
		return err
	}
	defer release()
	batch := newBatch(e, time.Now())
	for _, arn := range arns {
		if a := e.actor(arn); a != nil {
			batch.desire(a, task.Stopped)
		}
	}
	return batch.wait(ctx)
}

// Advance makes a later sequence number durable.
func (e *Engine) Advance(seq int64) error {
	release, err := e.serially(context.Background())
	if err != nil {
		return err
	}
	defer release()
	if seq <= e.seq.Load() {
		return nil
	}
	if err := e.opt.Store.SaveSequence(seq); err != nil {
		return fmt.Errorf("save sequence number %d: %w", seq, err)
	}
	e.seq.Store(seq)
	return nil
}

// serially waits until the engine runs and no other delivery is under way.
func (e *Engine) serially(ctx context.Context) (release func(), err error) {
	select {
	case <-e.started:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the engine: %w", ctx.Err())
	}
	select {
	case e.delivering <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for an earlier delivery: %w", ctx.Err())
	case <-e.ctx.Done():
		return nil, errStopped
	}
	if e.ctx.Err() != nil {
		<-e.delivering
		return nil, errStopped
	}
	return func() { <-e.delivering }, nil
}

// batch is one delivery under way.
type batch struct {
	e       *Engine
	now     time.Time
	fresh   []*actor
	byARN   map[string]*actor
	answers []chan error
}

func newBatch(e *Engine, now time.Time) *batch {
	return &batch{e: e, now: now, byARN: make(map[string]*actor)}
}

// desire asks a known task for a status; false means that it has just gone.
func (b *batch) desire(a *actor, status task.Status) bool {
	answer := make(chan error, 1)
	ok := a.box.put(desireMessage{status: status, answer: func(err error) { answer <- err }})
	if ok {
		b.answers = append(b.answers, answer)
	}
	return ok
}

func (b *batch) request(r task.Request) {
	if r.Spec == nil {
		return
	}
	arn := r.Spec.ARN
	if a := b.e.actor(arn); a != nil && b.desire(a, r.Desired) {
		return
	}
	if a := b.byARN[arn]; a != nil {
		task.Apply(a.spec, &a.st, task.Desire{Status: r.Desired}, b.now, b.e.rules)
		a.publish()
		return
	}
	b.add(b.e.accept(r, b.now))
}

func (b *batch) reject(r task.Rejection) {
	if b.e.actor(r.ARN) != nil || b.byARN[r.ARN] != nil || r.ARN == "" {
		return // it runs on
	}
	spec := &task.Spec{ARN: r.ARN}
	b.add(&task.Record{Spec: spec, State: task.RejectedState(spec, r.Reason, b.now)})
}

func (b *batch) add(rec *task.Record) {
	// Later tasks of a payload queue behind earlier ones.
	b.now = b.now.Add(time.Nanosecond)
	a := newActor(b.e, rec)
	if a.st.Known != task.Stopped {
		a.choose()
		task.Settle(a.spec, &a.st, b.now, b.e.rules)
		a.publish()
	}
	b.fresh = append(b.fresh, a)
	b.byARN[rec.Spec.ARN] = a
}

// store makes the new tasks and the sequence number durable as one, and only then
// lets the tasks begin.
func (b *batch) store(seq int64) error {
	if seq <= b.e.seq.Load() {
		seq = 0
	}
	var err error
	switch {
	case len(b.fresh) > 0:
		records := make([]task.Record, len(b.fresh))
		for i, a := range b.fresh {
			records[i] = task.Record{Spec: a.spec, State: a.st}
		}
		err = b.e.opt.Store.SaveTasks(seq, records)
	case seq != 0:
		err = b.e.opt.Store.SaveSequence(seq)
	}
	if err != nil {
		for _, a := range b.fresh {
			b.e.gone(a.spec.ARN)
		}
		return fmt.Errorf("save %d tasks with sequence number %d: %w", len(b.fresh), seq, err)
	}
	if seq != 0 {
		b.e.seq.Store(seq)
	}
	for _, a := range b.fresh {
		a.dirty = false
		b.e.tasks.Store(a.spec.ARN, a)
		if a.st.Known != task.Stopped {
			b.e.admission.enqueue(a.spec.ARN, demandOf(a.spec), a.st.AcceptedAt)
		}
	}
	grants := b.e.admission.evaluate(b.now)
	for _, a := range b.fresh {
		b.e.spawn(a)
	}
	b.e.grant(grants)
	return nil
}

// wait waits until every status that known tasks were asked for is durable.
func (b *batch) wait(ctx context.Context) error {
	var failed error
	for _, answer := range b.answers {
		select {
		case err := <-answer:
			if err != nil {
				failed = fmt.Errorf("save desired status: %w", err)
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for desired statuses: %w", ctx.Err())
		case <-b.e.ctx.Done():
			return errStopped
		}
	}
	return failed
}

// accept makes the record of a task that was not known.
func (e *Engine) accept(r task.Request, now time.Time) *task.Record {
	if r.Desired >= task.Created && r.Desired < task.Stopped {
		in := task.Intake{GPUSupport: e.opt.GPUSupport, Pause: e.opt.Pause}
		spec, reason := Acceptance(in, e.opt.Hooks, e.opt.checkNetwork(), r.Spec)
		if reason != "" {
			e.log.Warn("task rejected", zap.String("task", r.Spec.ARN), zap.String("reason", reason))
			return &task.Record{Spec: r.Spec, State: task.RejectedState(r.Spec, reason, now)}
		}
		return &task.Record{Spec: spec, State: task.NewState(spec, r.Desired, now)}
	}
	return &task.Record{Spec: r.Spec, State: task.NewState(r.Spec, task.Stopped, now)}
}

// choose settles what is left to chance in a task's record: the names of its
// containers and volumes and its endpoint ids.
func (a *actor) choose() {
	for i := range a.st.Containers {
		c := &a.st.Containers[i]
		if c.DockerName == "" {
			c.DockerName = a.e.opt.Builder.ContainerName(a.spec, i)
			a.dirty = true
		}
		if c.EndpointID == "" {
			c.EndpointID = uuid.NewString()
			a.dirty = true
		}
	}
	for i := range a.st.Volumes {
		if v := &a.st.Volumes[i]; v.DockerName == "" && task.NeedsVolume(a.spec, i) {
			v.DockerName = a.e.opt.Builder.VolumeName(a.spec, i)
			a.dirty = true
		}
	}
}
