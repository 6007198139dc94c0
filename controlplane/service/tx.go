package service

import (
	"encoding/json"
	"errors"
	"time"

	"go.uber.org/zap"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/wire"
)

// tx is one change of the state, made under the lock. It gathers what the change
// causes outside.
type tx struct {
	s     *Service
	now   time.Time
	dirty map[recordKey]any // nil deletes
	batch batch
}

// recordKey names a record of the store.
type recordKey struct{ kind, key string }

// Kinds of records; each is a bucket of the store.
const (
	kindCluster    = "clusters"
	kindFamily     = "families"
	kindDefinition = "definitions"
	kindInstance   = "instances"
	kindTask       = "tasks"
)

// update runs fn under the lock and returns when what it changed is written and
// on its way.
func (s *Service) update(fn func(*tx) error) error {
	done, err := s.transact(fn)
	if done != nil {
		if writeErr := <-done; err == nil && writeErr != nil {
			return api.Errorf(api.ServerException, "The change could not be saved: %v", writeErr)
		}
	}
	return err
}

// apply is update for changes that cannot fail and need not wait.
func (s *Service) apply(fn func(*tx)) {
	_, err := s.transact(func(t *tx) error { fn(t); return nil })
	if err != nil {
		s.log.Debug("change refused", zap.Error(err))
	}
}

// read runs fn under the lock; it must not change anything.
func (s *Service) read(fn func(*state) error) error {
	return s.update(func(*tx) error { return fn(&s.state) })
}

func (s *Service) transact(fn func(*tx) error) (<-chan error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.closed {
		return nil, api.Errorf(api.ServerException, "The service is shutting down.")
	}
	t := &tx{s: s, now: s.opts.Now(), dirty: map[recordKey]any{}}
	t.expire()
	err := fn(t)
	return t.finish(), err
}

// finish hands the batch to the committer. The result is nil when there is nothing
// to wait for.
func (t *tx) finish() <-chan error {
	if len(t.dirty) == 0 && t.batch.empty() {
		return nil
	}
	t.batch.puts = make(map[recordKey][]byte, len(t.dirty))
	if t.s.store != nil {
		for key, record := range t.dirty {
			var b []byte
			if record != nil {
				var err error
				if b, err = json.Marshal(record); err != nil {
					t.s.log.Error("record cannot be encoded", zap.String("kind", key.kind), zap.String("key", key.key), zap.Error(err))
					continue
				}
			}
			t.batch.puts[key] = b
		}
	}
	t.batch.done = make(chan error, 1)
	done := t.batch.done
	t.s.commits.add(t.batch)
	return done
}

func (t *tx) save(kind, key string, record any) { t.dirty[recordKey{kind, key}] = record }

func (t *tx) saveCluster(c *cluster)       { t.save(kindCluster, c.Name, c) }
func (t *tx) saveDefinition(d *definition) { t.save(kindDefinition, d.key(), d) }

// saveTask records a change that users do not see.
func (t *tx) saveTask(tk *task) { t.save(kindTask, tk.Task.TaskARN, tk) }

// taskChanged records a change that users see.
func (t *tx) taskChanged(tk *task) {
	tk.Task.Version++
	t.saveTask(tk)
	view := tk.view(true)
	t.batch.events = append(t.batch.events, Event{Kind: KindTask, ARN: view.TaskARN, Task: &view})
}

// instanceChanged records a change of an instance that users see.
func (t *tx) instanceChanged(in *instance) {
	in.Version++
	t.save(kindInstance, in.ARN, in)
	view := t.s.state.instanceView(in, true)
	t.batch.events = append(t.batch.events, Event{Kind: KindInstance, ARN: in.ARN, Instance: &view})
}

// deliver sends the task as it is wanted now to its agent.
func (t *tx) deliver(tk *task) {
	role, execution := t.s.taskCredentials(tk, t.now)
	raw, err := tk.Payload.JSON(tk.Task.DesiredStatus, role, execution)
	if err != nil {
		t.s.log.Error("task cannot be encoded", zap.String("task", tk.Task.TaskARN), zap.Error(err))
		return
	}
	t.batch.deliver(tk.Task.ContainerInstanceARN, raw, mark{tk.Task.TaskARN, tk.Task.DesiredStatus})
}

// expire forgets tasks and instances that have been gone for long enough.
func (t *tx) expire() {
	st := &t.s.state
	before := t.now.Add(-t.s.opts.Keep)
	gone := 0
	for _, tk := range st.stopped {
		if tk.Task.StoppedAt.After(before) {
			break
		}
		gone++
		delete(st.tasks, tk.Task.TaskARN)
		t.save(kindTask, tk.Task.TaskARN, nil)
	}
	if gone > 0 {
		st.stopped = append([]*task(nil), st.stopped[gone:]...)
		st.dropDeleted(t)
	}
	for arn, in := range st.instances {
		if in.Status == api.StatusInactive && !in.InactiveAt.After(before) {
			delete(st.instances, arn)
			t.save(kindInstance, arn, nil)
		}
	}
}

// delivery is what one instance gets from one batch.
type delivery struct {
	instance string
	tasks    []json.RawMessage
	marks    []mark
}

// batch is what a change causes outside, in order: writes, payloads,
// disconnections, events.
type batch struct {
	puts        map[recordKey][]byte // nil deletes
	deliveries  []delivery
	attach      []announced
	detach      []string // MAC addresses
	release     []released
	updates     []updated
	disconnects []string
	events      []Event
	done        chan error
}

func (b *batch) empty() bool {
	return len(b.deliveries) == 0 && len(b.attach) == 0 && len(b.detach) == 0 && len(b.release) == 0 && len(b.updates) == 0 && len(b.disconnects) == 0 && len(b.events) == 0
}

// deliver adds a task to the payload of its instance.
func (b *batch) deliver(instance string, raw json.RawMessage, m mark) {
	for i := range b.deliveries {
		if b.deliveries[i].instance == instance {
			b.deliveries[i].tasks = append(b.deliveries[i].tasks, raw)
			b.deliveries[i].marks = append(b.deliveries[i].marks, m)
			return
		}
	}
	b.deliveries = append(b.deliveries, delivery{instance, []json.RawMessage{raw}, []mark{m}})
}

func (d *delivery) payload() wire.Payload { return wire.Payload{Tasks: d.tasks} }

func errorsJoin(errs ...error) error { return errors.Join(errs...) }
