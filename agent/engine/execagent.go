package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Execs runs further programs in containers; the runtime does. Each method keeps its own
// deadline.
type Execs interface {
	CreateExec(ctx context.Context, container, user string, command []string) (id string, err error)
	StartExec(ctx context.Context, id string) error
	InspectExec(ctx context.Context, id string) (runtime.Exec, error)
	Processes(ctx context.Context, container string) ([]runtime.Process, error)
	// ListExecs returns the ids of a container's further programs, as far as they are known.
	ListExecs(ctx context.Context, container string) ([]string, error)
	// WatchExecs tells of programs that end, and when it may have missed some.
	WatchExecs(ctx context.Context, fn func(runtime.Event)) error
}

// Starting an exec agent (docs/spec/02 section 10.1).
const (
	agentAttempts = 5
	agentLimit    = 10 * time.Minute
)

func agentBackoff() awsenv.Backoff {
	return awsenv.Backoff{Min: time.Second, Max: 30 * time.Second, Multiplier: 1.5, Jitter: 0.2}
}

// agent sees that the exec agent of the container runs: it is started unless it does.
func (w *stepWork) agent(ctx context.Context, r *answer) {
	execs := w.e.opt.Execs
	if execs == nil {
		r.done.Err = &task.Error{Message: "unable to start " + task.ExecAgentName + ": switched off on this container instance"}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, agentLimit)
	defer cancel()
	g := w.state().ExecAgent
	if g.Status == task.AgentRunning {
		run, err := w.findAgent(ctx, execs, g)
		if err != nil {
			r.done.Err, r.done.Uncertain = reason(err, ""), true
			return
		}
		if run != nil {
			r.done.Agent = run
			return
		}
	}
	var err error
	unknown := !w.state().StartedAt.After(w.e.begun) // an earlier process may have started it
	for attempt, wait := 1, agentBackoff(); attempt <= agentAttempts; attempt++ {
		if attempt > 1 && awsenv.Sleep(ctx, wait.Next()) != nil {
			break
		}
		if unknown {
			if r.done.Agent, err = w.seekAgent(ctx, execs, g); err == nil && r.done.Agent != nil {
				return
			}
			if err != nil {
				continue
			}
		}
		unknown = true // an attempt that failed may have been carried out
		if r.done.Agent, err = startAgent(ctx, execs, w.state().RuntimeID, g); err == nil {
			return
		}
		w.e.log.Debug("exec agent not started", zap.String("task", w.snap.ARN), zap.String("container", w.container().Name),
			zap.Int("attempt", attempt), zap.Error(err))
	}
	r.done.Err = &task.Error{Message: err.Error()}
}

// findAgent returns the exec agent that was started before if it still runs. A daemon
// that was restarted under its containers has forgotten it: then the container's
// processes tell.
func (w *stepWork) findAgent(ctx context.Context, execs Execs, g *task.ExecAgent) (*task.AgentRun, error) {
	seen, err := execs.InspectExec(ctx, g.ExecID)
	switch {
	case err == nil && seen.Running:
		return &task.AgentRun{ExecID: g.ExecID, PID: seen.PID}, nil
	case err == nil:
		return nil, nil
	case !errors.Is(err, runtime.ErrNotFound):
		return nil, err
	}
	return w.seekAgent(ctx, execs, g)
}

// seekAgent finds the exec agent among the processes of its container, by the path that no
// other container has; nil where it does not run.
func (w *stepWork) seekAgent(ctx context.Context, execs Execs, g *task.ExecAgent) (*task.AgentRun, error) {
	container := w.state().RuntimeID
	list, err := execs.Processes(ctx, container)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(p runtime.Process) bool {
		return slices.ContainsFunc(p.Command, func(word string) bool {
			return word == g.Command[0] || strings.HasSuffix(g.Command[0], `\`+word) // Windows tells the name alone
		})
	})
	if i < 0 {
		return nil, nil
	}
	run := &task.AgentRun{ExecID: g.ExecID, PID: list[i].PID}
	ids, err := execs.ListExecs(ctx, container)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if seen, err := execs.InspectExec(ctx, id); err == nil && seen.Running && seen.PID == run.PID {
			run.ExecID = id
		}
	}
	return run, nil
}

func startAgent(ctx context.Context, execs Execs, container string, g *task.ExecAgent) (*task.AgentRun, error) {
	failed := func(phase string, err error) (*task.AgentRun, error) {
		return nil, fmt.Errorf("unable to start %s [%s]: %w", task.ExecAgentName, phase, err)
	}
	id, err := execs.CreateExec(ctx, container, g.User, g.Command)
	if err != nil {
		return failed("create", err)
	}
	if err := execs.StartExec(ctx, id); err != nil {
		return failed("pre-start", err)
	}
	seen, err := execs.InspectExec(ctx, id)
	if err != nil {
		return failed("inspect", err)
	}
	if !seen.Running {
		return nil, errors.New(task.AgentExited(seen.ExitCode))
	}
	return &task.AgentRun{ExecID: id, PID: seen.PID}, nil
}

// watchExecs begins to hear of exec agents that end, with the first one that is started:
// a host without them hears of no other program, such as a health check's, that ends.
func (e *Engine) watchExecs() {
	if e.opt.Execs == nil {
		return
	}
	e.execs.Do(func() {
		e.workers.Go(func() {
			for {
				err := e.opt.Execs.WatchExecs(e.ctx, e.dispatchExec)
				if e.ctx.Err() != nil {
					return
				}
				e.log.Warn("docker events of exec agents ended", zap.Error(err), zap.Duration("retry_in", watchRetry))
				if !sleep(e.ctx, watchRetry) {
					return
				}
				e.lookAtAgents()
			}
		})
	})
}

func (e *Engine) dispatchExec(ev runtime.Event) {
	if ev.Type == runtime.EventReconnected {
		e.lookAtAgents()
		return
	}
	a := e.actor(ev.Labels[runtime.LabelTaskARN])
	if a == nil {
		return
	}
	i := a.spec.Index(ev.Labels[runtime.LabelContainerName])
	if i >= 0 && a.spec.Containers[i].ExecAgent() != nil {
		a.box.put(execMessage{container: i, event: ev})
	}
}

func (e *Engine) lookAtAgents() {
	e.eachActor(func(a *actor) {
		for i := range a.spec.Containers {
			if a.spec.Containers[i].ExecAgent() != nil {
				a.box.put(agentLookMessage{i})
			}
		}
	})
}

// execMessage says that a program in a container has ended.
type execMessage struct {
	container int
	event     runtime.Event
}

type agentLookMessage struct{ container int }

// handle keeps what comes while an exec agent is being started: it may be that one's end.
func (m execMessage) handle(a *actor) {
	g := a.st.Containers[m.container].ExecAgent
	switch {
	case g == nil:
	case g.Applied:
		w := &a.containers[m.container]
		w.execEnds = append(w.execEnds, m)
	case g.ExecID == m.event.ExecID:
		a.apply(task.AgentExit{Container: m.container, ExecID: m.event.ExecID, ExitCode: m.event.ExitCode}, time.Now())
	}
}

func (m agentLookMessage) handle(a *actor) {
	a.apply(task.AgentLook{Container: m.container}, time.Now())
}

// agentAnswered lets what was kept count, now that the agent's id is known.
func (a *actor) agentAnswered(i int) {
	w := &a.containers[i]
	w.endAgent = nil
	kept := w.execEnds
	w.execEnds = nil
	for _, m := range kept {
		m.handle(a)
	}
}

// dropAgents ends the start of exec agents whose container ends.
func (a *actor) dropAgents() {
	for i := range a.containers {
		w, c := &a.containers[i], &a.st.Containers[i]
		if w.endAgent != nil && (c.Known == task.ContainerStopped || c.Desired == task.ContainerStopped || c.Restarting) {
			w.endAgent()
			w.endAgent = nil
		}
	}
}
