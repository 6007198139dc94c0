package enginetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// watcher is one reader of events, with an unbounded queue.
type watcher struct {
	mu     sync.Mutex
	queue  []runtime.Event
	signal chan struct{}
}

// Watch implements engine.Runtime.
func (r *Runtime) Watch(ctx context.Context, fn func(runtime.Event)) error {
	w := &watcher{signal: make(chan struct{}, 1)}
	r.mu.Lock()
	r.watchers = append(r.watchers, w)
	r.mu.Unlock()
	for {
		w.mu.Lock()
		queue := w.queue
		w.queue = nil
		w.mu.Unlock()
		for _, ev := range queue {
			fn(ev)
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.signal:
		}
	}
}

func (r *Runtime) event(b *box, t runtime.EventType) runtime.Event {
	return runtime.Event{Type: t, ID: b.ID, Name: b.Name, Labels: b.Labels, Time: time.Now()}
}

// Emit sends an event that no call caused.
func (r *Runtime) Emit(ev runtime.Event) { r.emit(ev) }

func (r *Runtime) emit(ev runtime.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silent {
		return
	}
	for _, w := range r.watchers {
		w.mu.Lock()
		w.queue = append(w.queue, ev)
		w.mu.Unlock()
		select {
		case w.signal <- struct{}{}:
		default:
		}
	}
}

// CreateVolume implements engine.Runtime.
func (r *Runtime) CreateVolume(ctx context.Context, q runtime.VolumeRequest) (runtime.Volume, error) {
	done, err := r.enter(ctx, CreateVolume, q.Name)
	if err != nil {
		return runtime.Volume{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v := runtime.Volume{Name: q.Name, Driver: q.Driver, DriverOpts: q.DriverOpts, Labels: q.Labels}
	r.volumes[q.Name] = v
	return v, done
}

// InspectVolume implements engine.Runtime.
func (r *Runtime) InspectVolume(ctx context.Context, name string) (runtime.Volume, error) {
	if _, err := r.enter(ctx, InspectVol, name); err != nil {
		return runtime.Volume{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.volumes[name]
	if !ok {
		return v, &runtime.Failure{Reason: task.Error{Name: "CannotInspectVolumeError", Message: fmt.Sprintf("get %s: no such volume", name)}, Kind: runtime.ErrNotFound}
	}
	return v, nil
}

// RemoveVolume implements engine.Runtime.
func (r *Runtime) RemoveVolume(ctx context.Context, name string) error {
	if _, err := r.enter(ctx, RemoveVolume, name); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.volumes, name)
	return nil
}

// Volumes returns the names of all volumes.
func (r *Runtime) Volumes() (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.volumes {
		names = append(names, name)
	}
	return names
}
