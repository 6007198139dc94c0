package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/resource"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// execHook gives containers named app an exec agent.
type execHook struct {
	*fakeHook
	problem string
}

func (h *execHook) Provision(context.Context, *task.Snapshot, *task.Resource) (resource.Provided, error) {
	setup := task.AgentSetup{Command: []string{"/ecs-execute-command-1/amazon-ssm-agent"}, User: "0", Problem: h.problem}
	return resource.Provided{Agents: map[string]task.AgentSetup{"app": setup}}, nil
}

func withExec(problem string) func(*Options) {
	return func(o *Options) {
		o.Hooks = []Hook{&execHook{newFakeHook("execcmd"), problem}}
		o.Execs = o.Runtime.(*enginetest.Runtime)
	}
}

func execSpec(id string) *task.Spec {
	spec := specOf(id, "app", "side")
	spec.Containers[0].ManagedAgents = []task.ManagedAgent{{Name: task.ExecAgentName}}
	return spec
}

func (r *rig) wantAgent(spec *task.Spec, status task.AgentStatus, reason string) *task.ExecAgent {
	g := r.state(spec).Containers[0].ExecAgent
	if g == nil {
		r.t.Fatalf("no exec agent is known of %s", spec.ID())
	}
	if g.Status != status || g.Reason != reason {
		r.t.Fatalf("exec agent is %v: %q, want %v: %q", g.Status, g.Reason, status, reason)
	}
	return g
}

func TestExecAgentIsStartedAndWatched(t *testing.T) {
	edit := withExec("")
	in(t, edit, func(r *rig) {
		plain := specOf("plain", "app")
		plain.Containers[0].Name = "other"
		r.run(plain)
		if n := r.docker.Count(enginetest.CreateExec); n != 0 {
			t.Fatalf("%d execs for a task without an exec agent", n)
		}
		spec := execSpec("one")
		r.run(spec)
		st := r.want(spec, task.Running)
		if st.Containers[1].ExecAgent != nil {
			t.Errorf("a container that asked for none: %+v", st.Containers[1].ExecAgent)
		}
		g := r.wantAgent(spec, task.AgentRunning, "ExecuteCommandAgent started")
		if g.PID != enginetest.Pid+1 || g.ExecID == "" || g.User != "0" {
			t.Errorf("exec agent %+v", g)
		}
		if saved, _ := r.store.State(spec.ARN); saved.Containers[0].ExecAgent.Status != task.AgentRunning {
			t.Errorf("saved %+v", saved.Containers[0].ExecAgent)
		}
		// It ends, and is started again after a second, two, four.
		for _, pause := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			r.docker.ExitExec(r.state(spec).Containers[0].ExecAgent.ExecID, 3)
			synctest.Wait()
			r.wantAgent(spec, task.AgentStopped, "ExecuteCommandAgent process exited with exit code: 3")
			r.pass(pause - time.Millisecond)
			r.wantAgent(spec, task.AgentStopped, "ExecuteCommandAgent process exited with exit code: 3")
			r.pass(time.Millisecond)
			r.wantAgent(spec, task.AgentRunning, "ExecuteCommandAgent restarted")
		}
		// One that ran for long is not suspected any more.
		r.pass(16 * time.Minute)
		if n := r.docker.Count(enginetest.InspectExec); n != 5 {
			t.Errorf("%d inspects, want one for each start and one look", n)
		}
		r.docker.ExitExec(r.state(spec).Containers[0].ExecAgent.ExecID, 0)
		r.pass(time.Second)
		r.wantAgent(spec, task.AgentRunning, "ExecuteCommandAgent restarted")
		r.stopTask(spec)
		r.want(spec, task.Stopped)
		r.wantAgent(spec, task.AgentStopped, "Received Container Stopped event")
	})
}

func TestExecAgentThatCannotBe(t *testing.T) {
	edit := withExec("no valid versions were found in /x")
	in(t, edit, func(r *rig) {
		spec := execSpec("one")
		r.run(spec)
		r.want(spec, task.Running)
		const reason = "ExecuteCommandAgent Initialization failed - no valid versions were found in /x"
		r.wantAgent(spec, task.AgentStopped, reason)
		r.pass(time.Hour)
		if n := r.docker.Count(enginetest.CreateExec); n != 0 {
			t.Errorf("%d execs", n)
		}
		r.stopTask(spec)
		r.want(spec, task.Stopped)
		r.wantAgent(spec, task.AgentStopped, reason)
	})
}

func TestExecAgentThatDoesNotStart(t *testing.T) {
	tests := []struct {
		name    string
		disturb func(d *enginetest.Runtime)
		reason  string
		heal    func(d *enginetest.Runtime)
	}{
		{"create", func(d *enginetest.Runtime) {
			d.Disturb(enginetest.CreateExec, "app", enginetest.Knob{Err: errors.New("no room")})
		}, "unable to start ExecuteCommandAgent [create]: no room", func(d *enginetest.Runtime) {
			d.Disturb(enginetest.CreateExec, "app", enginetest.Knob{})
		}},
		{"start", func(d *enginetest.Runtime) {
			d.Disturb(enginetest.StartExec, "app", enginetest.Knob{Err: errors.New("no such file")})
		}, "unable to start ExecuteCommandAgent [pre-start]: no such file", func(d *enginetest.Runtime) {
			d.Disturb(enginetest.StartExec, "app", enginetest.Knob{})
		}},
		{"exits", func(d *enginetest.Runtime) { d.ExecProgram("app", enginetest.Program{Exits: true, Code: 1}) },
			"ExecuteCommandAgent process exited with exit code: 1", func(d *enginetest.Runtime) { d.ExecProgram("app", enginetest.Program{}) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			edit := withExec("")
			in(t, edit, func(r *rig) {
				tt.disturb(r.docker)
				spec := execSpec("one")
				r.run(spec)
				r.want(spec, task.Running)
				r.wantAgent(spec, task.AgentNone, "")
				r.pass(time.Minute)
				r.wantAgent(spec, task.AgentStopped, tt.reason)
				if n := r.docker.Count(enginetest.CreateExec); n != 5 {
					t.Errorf("%d attempts", n)
				}
				r.want(spec, task.Running) // whatever becomes of its exec agent
				tt.heal(r.docker)
				r.pass(15 * time.Minute)
				r.wantAgent(spec, task.AgentRunning, "ExecuteCommandAgent started")
				// And then not again.
				tt.disturb(r.docker)
				r.docker.ExitExec(r.state(spec).Containers[0].ExecAgent.ExecID, 1)
				r.pass(time.Minute)
				r.wantAgent(spec, task.AgentStopped, "ExecuteCommandAgent cannot be restarted: "+tt.reason)
			})
		})
	}
}

// TestExecAgentOverRestarts: a restarted agent takes over what runs, finds what ended
// meanwhile, and what a restarted daemon has forgotten.
func TestExecAgentOverRestarts(t *testing.T) {
	tests := []struct {
		name   string
		meddle func(d *enginetest.Runtime, execID string)
		starts int
		reason string
	}{
		{"runs on", func(*enginetest.Runtime, string) {}, 1, "ExecuteCommandAgent started"},
		{"ended", func(d *enginetest.Runtime, id string) { d.ExitExec(id, 1) }, 2, "ExecuteCommandAgent restarted"},
		{"forgotten", func(d *enginetest.Runtime, _ string) { d.ForgetExecs() }, 1, "ExecuteCommandAgent started"},
		{"forgotten and ended", func(d *enginetest.Runtime, id string) { d.ExitExec(id, 1); d.ForgetExecs() }, 2, "ExecuteCommandAgent restarted"},
		{"cannot be looked at", func(d *enginetest.Runtime, _ string) {
			d.Disturb(enginetest.InspectExec, "", enginetest.Knob{Err: errors.New("odd")})
		}, 1, "ExecuteCommandAgent started"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			edit := withExec("")
			in(t, edit, func(r *rig) {
				spec := execSpec("one")
				r.run(spec)
				g := r.wantAgent(spec, task.AgentRunning, "ExecuteCommandAgent started")
				r.stop()
				tt.meddle(r.docker, g.ExecID)
				r.start()
				r.wantAgent(spec, task.AgentRunning, tt.reason)
				if n := r.docker.Count(enginetest.StartExec); n != tt.starts {
					t.Errorf("%d starts, want %d", n, tt.starts)
				}
			})
		})
	}
}

// TestExecAgentIsStartedOnce: nobody may know that it was started, because the answer was
// lost or the agent was killed before it had written it down.
func TestExecAgentIsStartedOnce(t *testing.T) {
	edit := withExec("")
	once := func(t *testing.T, r *rig, spec *task.Spec) {
		t.Helper()
		g := r.wantAgent(spec, task.AgentRunning, "ExecuteCommandAgent started")
		if n := r.docker.Count(enginetest.StartExec); n != 1 {
			t.Errorf("%d starts, want 1", n)
		}
		if running := r.docker.Execs(r.state(spec).Containers[0].RuntimeID); len(running) != 1 || running[0] != g.ExecID {
			t.Errorf("%q run, and %q is known", running, g.ExecID)
		}
		// Its end is noticed, so that it is that one which is known.
		r.docker.ExitExec(g.ExecID, 3)
		synctest.Wait()
		r.wantAgent(spec, task.AgentStopped, "ExecuteCommandAgent process exited with exit code: 3")
	}
	t.Run("answer lost", func(t *testing.T) {
		in(t, edit, func(r *rig) {
			r.docker.Disturb(enginetest.StartExec, "app", enginetest.Knob{After: errors.New("connection reset"), Times: 1})
			spec := execSpec("one")
			r.run(spec)
			r.pass(time.Minute)
			once(t, r, spec)
		})
	})
	t.Run("killed", func(t *testing.T) {
		in(t, edit, func(r *rig) {
			r.docker.Disturb(enginetest.InspectExec, "", enginetest.Knob{Block: make(chan struct{})})
			spec := execSpec("one")
			r.run(spec)
			r.wantAgent(spec, task.AgentNone, "")
			r.stop()
			r.docker.Disturb(enginetest.InspectExec, "", enginetest.Knob{})
			r.pass(time.Second)
			r.start()
			once(t, r, spec)
		})
	})
}

// TestExecAgentEndMissed: after a broken event stream exec agents are looked at.
func TestExecAgentEndMissed(t *testing.T) {
	edit := withExec("")
	in(t, edit, func(r *rig) {
		spec := execSpec("one")
		r.run(spec)
		g := r.wantAgent(spec, task.AgentRunning, "ExecuteCommandAgent started")
		r.docker.Silence(true)
		r.docker.ExitExec(g.ExecID, 1)
		r.pass(time.Second)
		r.wantAgent(spec, task.AgentRunning, "ExecuteCommandAgent started")
		r.docker.Silence(false)
		synctest.Wait()
		r.wantAgent(spec, task.AgentRunning, "ExecuteCommandAgent restarted")
	})
}

// TestExecAgentEndsBeforeItIsKnown: the end of an agent comes before the answer to its
// start.
func TestExecAgentEndsBeforeItIsKnown(t *testing.T) {
	edit := withExec("")
	in(t, edit, func(r *rig) {
		// The inspect answers what was so when it was asked, and late.
		r.docker.ExecProgram("app", enginetest.Program{Exits: true, After: time.Second, Code: 9})
		slow := make(chan struct{})
		late := &lateExecs{Runtime: r.docker, wait: slow}
		r.stop()
		r.edit = func(o *Options) { edit(o); o.Execs = late }
		r.start()
		spec := execSpec("one")
		r.run(spec)
		r.pass(2 * time.Second)
		close(slow)
		synctest.Wait()
		r.wantAgent(spec, task.AgentStopped, "ExecuteCommandAgent process exited with exit code: 9")
	})
}

// lateExecs holds the first answer to an inspect back.
type lateExecs struct {
	*enginetest.Runtime
	wait chan struct{}
}

func (l *lateExecs) InspectExec(ctx context.Context, id string) (runtime.Exec, error) {
	seen, err := l.Runtime.InspectExec(ctx, id)
	<-l.wait
	return seen, err
}

// TestExecAgentOfARestartedContainer: it ends with its container and comes back with it.
func TestExecAgentOfARestartedContainer(t *testing.T) {
	edit := withExec("")
	in(t, edit, func(r *rig) {
		spec := execSpec("one")
		spec.Containers[0].Restart = &task.RestartPolicy{Enabled: true}
		r.run(spec)
		r.wantAgent(spec, task.AgentRunning, "ExecuteCommandAgent started")
		r.docker.Exit(r.idOf(spec, 0), 1)
		synctest.Wait()
		if st := r.want(spec, task.Running); st.Containers[0].RestartCount != 1 {
			t.Fatalf("container %+v", st.Containers[0])
		}
		r.wantAgent(spec, task.AgentRunning, "ExecuteCommandAgent restarted")
		if n := len(r.docker.Execs(r.idOf(spec, 0))); n != 1 {
			t.Errorf("%d exec agents run", n)
		}
	})
}

// TestExecAgentDoesNotHoldUpAStop: a start that is tried again and again ends with its
// container.
func TestExecAgentDoesNotHoldUpAStop(t *testing.T) {
	edit := withExec("")
	in(t, edit, func(r *rig) {
		r.docker.Disturb(enginetest.StartExec, "app", enginetest.Knob{Delay: time.Minute, Err: errors.New("no")})
		spec := execSpec("one")
		r.run(spec)
		r.stopTask(spec)
		r.want(spec, task.Stopped)
		r.wantAgent(spec, task.AgentStopped, "Received Container Stopped event")
		r.pass(10 * time.Minute)
		if n := r.docker.Count(enginetest.StartExec); n != 1 {
			t.Errorf("%d starts", n)
		}
		line := r.Timeline(spec.ARN)
		told := false
		for _, e := range line.Entries {
			told = told || e.Event == task.EventExecAgent && strings.Contains(e.Detail, "Received Container Stopped event")
		}
		if !told {
			t.Errorf("timeline %+v", line.Entries)
		}
	})
}
