package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Program is what a container's process does.
type Program struct {
	Exits bool // it ends by itself
	After time.Duration
	Code  int
	// Deaf programs ignore SIGTERM and end only when killed.
	Deaf bool
}

// Runtime is a container runtime in memory. The zero value is not usable: New.
type Runtime struct {
	mu         sync.Mutex
	containers map[string]*box // by id
	names      map[string]*box // by name
	volumes    map[string]runtime.Volume
	programs   map[string]Program // by container label
	knobs      map[string]*Knob   // by op and container label
	calls      []string
	watchers   []*watcher
	execs      map[string]*exec // by id
	orphans    []*exec          // that the daemon has forgotten
	silent     bool             // events are lost
	next       int
	running    sync.WaitGroup // programs
	closed     chan struct{}
}

type box struct {
	runtime.Container
	label string // container name in the task
	ended chan struct{}
}

// New makes a runtime with no containers. Close it at the end.
func New() *Runtime {
	return &Runtime{
		containers: make(map[string]*box), names: make(map[string]*box), volumes: make(map[string]runtime.Volume),
		programs: make(map[string]Program), knobs: make(map[string]*Knob),
		execs:  make(map[string]*exec),
		closed: make(chan struct{}),
	}
}

// Close ends all programs and waits for them.
func (r *Runtime) Close() {
	close(r.closed)
	r.running.Wait()
}

// Program says what the containers with this name do; by default they run for ever.
func (r *Runtime) Program(container string, p Program) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.programs[container] = p
}

// Silence loses events until it is ended, which sends EventReconnected.
func (r *Runtime) Silence(on bool) {
	r.mu.Lock()
	r.silent = on
	r.mu.Unlock()
	if !on {
		r.emit(runtime.Event{Type: runtime.EventReconnected})
	}
}

// Containers returns all containers, oldest first.
func (r *Runtime) Containers() []runtime.Container {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []runtime.Container
	for _, b := range r.containers {
		all = append(all, b.Container)
	}
	slices.SortFunc(all, func(a, b runtime.Container) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all
}

// Put adds a container as if another process had made it.
func (r *Runtime) Put(c runtime.Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := &box{Container: c, label: c.Labels[runtime.LabelContainerName]}
	if c.Status == task.ContainerRunning {
		b.ended = make(chan struct{})
	}
	r.containers[c.ID], r.names[c.Name] = b, b
}

// Exit ends the container's process with a code, as from outside.
func (r *Runtime) Exit(id string, code int) { r.end(id, code, false) }

// OOM kills the container for its use of memory.
func (r *Runtime) OOM(id string) { r.end(id, 137, true) }

// Delete removes a container behind the engine's back: docker rm -f.
func (r *Runtime) Delete(id string) {
	r.end(id, 137, false)
	r.mu.Lock()
	b := r.containers[id]
	delete(r.containers, id)
	if b != nil {
		delete(r.names, b.Name)
	}
	r.mu.Unlock()
	if b != nil {
		r.emit(r.event(b, runtime.EventDestroy))
	}
}

// SetHealth is a probe's verdict.
func (r *Runtime) SetHealth(id string, h task.Health) {
	r.mu.Lock()
	b := r.containers[id]
	b.HasHealthCheck, b.Health = true, h
	r.mu.Unlock()
	ev := r.event(b, runtime.EventHealth)
	ev.Health = h
	r.emit(ev)
}

func notFound(what string) error {
	return &runtime.Failure{Reason: task.Error{Name: "NoSuchContainerError", Message: "Container not found: " + what}, Kind: runtime.ErrNotFound}
}

func (r *Runtime) find(idOrName string) *box {
	if b := r.containers[idOrName]; b != nil {
		return b
	}
	return r.names[idOrName]
}

func (r *Runtime) labelOf(idOrName string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.find(idOrName); b != nil {
		return b.label
	}
	return idOrName
}

// Create implements engine.Runtime.
func (r *Runtime) Create(ctx context.Context, q runtime.CreateRequest) (string, error) {
	label := q.Config.Labels[runtime.LabelContainerName]
	done, err := r.enter(ctx, Create, label)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	if b := r.find(q.Name); b != nil {
		r.mu.Unlock()
		return b.ID, nil
	}
	r.next++
	b := &box{label: label, Container: runtime.Container{
		ID: fmt.Sprintf("id-%d-%s", r.next, label), Name: q.Name, Image: "sha256:" + q.Config.Image,
		Labels: q.Config.Labels, Status: task.ContainerCreated, CreatedAt: time.Now(),
	}}
	r.containers[b.ID], r.names[b.Name] = b, b
	r.mu.Unlock()
	r.emit(r.event(b, runtime.EventCreate))
	return b.ID, done
}

// Start implements engine.Runtime.
func (r *Runtime) Start(ctx context.Context, id string) error {
	done, err := r.enter(ctx, Start, r.labelOf(id))
	if err != nil {
		return err
	}
	r.mu.Lock()
	b := r.find(id)
	if b == nil {
		r.mu.Unlock()
		return notFound(id)
	}
	if b.Status == task.ContainerRunning {
		r.mu.Unlock()
		return done
	}
	b.Status, b.StartedAt, b.ExitCode, b.OOM = task.ContainerRunning, time.Now(), nil, false
	b.Networks = map[string]runtime.Network{"bridge": {IPv4: "172.17.0.2"}}
	b.Pid = Pid
	b.ended = make(chan struct{})
	p, ended := r.programs[b.label], b.ended
	r.mu.Unlock()
	r.emit(r.event(b, runtime.EventStart))
	if p.Exits && p.After == 0 {
		r.end(b.ID, p.Code, false)
	} else if p.Exits {
		r.running.Go(func() {
			select {
			case <-time.After(p.After):
				r.end(b.ID, p.Code, false)
			case <-ended:
			case <-r.closed:
			}
		})
	}
	return done
}

// Stop implements engine.Runtime.
func (r *Runtime) Stop(ctx context.Context, id string, timeout time.Duration) error {
	done, err := r.enter(ctx, Stop, r.labelOf(id))
	if errors.Is(err, ErrLie) {
		return nil
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	b := r.find(id)
	if b == nil {
		r.mu.Unlock()
		return notFound(id)
	}
	deaf := r.programs[b.label].Deaf && b.Status == task.ContainerRunning
	ended := b.ended
	r.mu.Unlock()
	code := 143
	if deaf {
		code = 137
		select {
		case <-time.After(timeout):
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.end(b.ID, code, false)
	return done
}

// Kill implements engine.Runtime.
func (r *Runtime) Kill(ctx context.Context, id string) error {
	done, err := r.enter(ctx, Kill, r.labelOf(id))
	if err != nil {
		return err
	}
	r.mu.Lock()
	b := r.find(id)
	r.mu.Unlock()
	if b == nil {
		return notFound(id)
	}
	r.end(b.ID, 137, false)
	return done
}

func (r *Runtime) end(id string, code int, oom bool) {
	r.mu.Lock()
	b := r.find(id)
	if b == nil || b.Status != task.ContainerRunning {
		r.mu.Unlock()
		return
	}
	b.Status, b.ExitCode, b.OOM, b.FinishedAt = task.ContainerStopped, &code, oom, time.Now()
	b.Networks, b.Pid = nil, 0
	close(b.ended)
	r.endExecs(b.ID)
	r.mu.Unlock()
	if oom {
		r.emit(r.event(b, runtime.EventOOM))
	}
	ev := r.event(b, runtime.EventDie)
	ev.ExitCode = &code
	r.emit(ev)
}

// Inspect implements engine.Runtime.
func (r *Runtime) Inspect(ctx context.Context, id string) (runtime.Container, error) {
	done, err := r.enter(ctx, Inspect, r.labelOf(id))
	if err != nil {
		return runtime.Container{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.find(id)
	if b == nil {
		return runtime.Container{}, notFound(id)
	}
	return b.Container, done
}

// List implements engine.Runtime.
func (r *Runtime) List(ctx context.Context) ([]runtime.Container, error) {
	if _, err := r.enter(ctx, List, ""); err != nil {
		return nil, err
	}
	all := r.Containers()
	for i := range all {
		c := &all[i]
		*c = runtime.Container{ID: c.ID, Name: c.Name, Image: c.Image, Labels: c.Labels, Status: c.Status, CreatedAt: c.CreatedAt}
	}
	return all, nil
}

// Remove implements engine.Runtime. It refuses a running container.
func (r *Runtime) Remove(ctx context.Context, id string) error {
	done, err := r.enter(ctx, Remove, r.labelOf(id))
	if err != nil {
		return err
	}
	r.mu.Lock()
	b := r.find(id)
	switch {
	case b == nil:
		r.mu.Unlock()
		return notFound(id)
	case b.Status == task.ContainerRunning:
		r.mu.Unlock()
		return &runtime.Failure{Reason: task.Error{Name: "CannotRemoveContainerError", Message: "container is running"}, Kind: runtime.ErrConflict}
	}
	delete(r.containers, b.ID)
	delete(r.names, b.Name)
	r.mu.Unlock()
	r.emit(r.event(b, runtime.EventDestroy))
	return done
}

// Ping implements engine.Runtime.
func (r *Runtime) Ping(ctx context.Context) error {
	_, err := r.enter(ctx, Ping, "")
	return err
}

// Pid is the process id of every container that runs.
const Pid = 4242
