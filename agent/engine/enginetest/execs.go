package enginetest

import (
	"context"
	"fmt"
	"time"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Calls about further programs in containers.
const (
	CreateExec  Op = "create exec"
	StartExec   Op = "start exec"
	InspectExec Op = "inspect exec"
	Processes   Op = "processes"
	ListExecs   Op = "list execs"
)

// exec is a further program in a container.
type exec struct {
	runtime.Exec
	id, container string
	command       []string
}

// ExecProgram says what further programs in the containers with this name do; by default
// they run for ever.
func (r *Runtime) ExecProgram(container string, p Program) { r.Program(container+" exec", p) }

// Execs returns the ids of further programs in a container that run.
func (r *Runtime) Execs(container string) (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.execs {
		if x.container == container && x.Running {
			ids = append(ids, x.id)
		}
	}
	return ids
}

// ExitExec ends a further program.
func (r *Runtime) ExitExec(id string, code int) {
	r.mu.Lock()
	x := r.execs[id]
	ran := x != nil && x.Running
	if ran {
		x.Running, x.ExitCode = false, &code
	}
	var b *box
	if ran {
		b = r.containers[x.container]
	}
	r.mu.Unlock()
	if b == nil {
		return
	}
	ev := r.event(b, runtime.EventExecDie)
	ev.ExecID, ev.ExitCode = id, &code
	r.emit(ev)
}

// ForgetExecs has the daemon forget all further programs, which run on.
func (r *Runtime) ForgetExecs() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, x := range r.execs {
		delete(r.execs, id)
		r.orphans = append(r.orphans, x)
	}
}

// CreateExec implements engine.Execs.
func (r *Runtime) CreateExec(ctx context.Context, container, _ string, command []string) (string, error) {
	done, err := r.enter(ctx, CreateExec, r.labelOf(container))
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.find(container)
	switch {
	case b == nil:
		return "", notFound(container)
	case b.Status != task.ContainerRunning:
		return "", &runtime.Failure{Reason: task.Error{Name: "CannotCreateContainerExecError", Message: "container " + container + " is not running"}, Kind: runtime.ErrConflict}
	}
	r.next++
	x := &exec{id: fmt.Sprintf("exec-%d", r.next), container: b.ID, command: command}
	r.execs[x.id] = x
	return x.id, done
}

// StartExec implements engine.Execs.
func (r *Runtime) StartExec(ctx context.Context, id string) error {
	r.mu.Lock()
	x := r.execs[id]
	r.mu.Unlock()
	if x == nil {
		return notFound(id)
	}
	label := r.labelOf(x.container)
	done, err := r.enter(ctx, StartExec, label)
	if err != nil {
		return err
	}
	r.mu.Lock()
	x.Running, x.PID = true, Pid+1
	p := r.programs[label+" exec"]
	r.mu.Unlock()
	switch {
	case p.Exits && p.After == 0:
		r.ExitExec(id, p.Code)
	case p.Exits:
		r.running.Go(func() {
			select {
			case <-time.After(p.After):
				r.ExitExec(id, p.Code)
			case <-r.closed:
			}
		})
	}
	return done
}

// InspectExec implements engine.Execs.
func (r *Runtime) InspectExec(ctx context.Context, id string) (runtime.Exec, error) {
	done, err := r.enter(ctx, InspectExec, "")
	if err != nil {
		return runtime.Exec{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.execs[id]
	if x == nil {
		return runtime.Exec{}, notFound(id)
	}
	return x.Exec, done
}

// Processes implements engine.Execs.
func (r *Runtime) Processes(ctx context.Context, container string) (list []runtime.Process, err error) {
	if _, err := r.enter(ctx, Processes, r.labelOf(container)); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.orphans {
		if x.container == container && x.Running {
			list = append(list, runtime.Process{PID: x.PID, Command: x.command})
		}
	}
	for _, x := range r.execs {
		if x.container == container && x.Running {
			list = append(list, runtime.Process{PID: x.PID, Command: x.command})
		}
	}
	return list, nil
}

// ListExecs implements engine.Execs.
func (r *Runtime) ListExecs(ctx context.Context, container string) ([]string, error) {
	if _, err := r.enter(ctx, ListExecs, r.labelOf(container)); err != nil {
		return nil, err
	}
	return r.Execs(container), nil
}

// WatchExecs implements engine.Execs.
func (r *Runtime) WatchExecs(ctx context.Context, fn func(runtime.Event)) error {
	return r.Watch(ctx, func(ev runtime.Event) {
		if ev.Type == runtime.EventExecDie || ev.Type == runtime.EventReconnected {
			fn(ev)
		}
	})
}

// endExecs ends the further programs of a container that ended. The caller holds the lock.
func (r *Runtime) endExecs(container string) {
	code := 137
	for _, x := range r.execs {
		if x.container == container && x.Running {
			x.Running, x.ExitCode = false, &code
		}
	}
	for _, x := range r.orphans {
		if x.container == container {
			x.Running = false
		}
	}
}
