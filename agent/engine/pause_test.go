package engine

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// withPause is a rig with a pause image, and a task whose containers share namespaces.
func withPause(t *testing.T, edit func(*Options), test func(*rig, *task.Spec)) {
	t.Helper()
	in(t, func(o *Options) {
		o.Pause = task.Pause{Image: "pause:1", Labels: map[string]string{"team": "a"}}
		if edit != nil {
			edit(o)
		}
	}, func(r *rig) {
		spec := specOf("one", "app", "side")
		spec.PIDMode, spec.IPCMode = "task", "task"
		test(r, spec)
	})
}

const pauseName = task.NamespacePauseName

func TestPauseHoldsNamespaces(t *testing.T) {
	withPause(t, nil, func(r *rig, spec *task.Spec) {
		r.images.OnEnsure("app:1", enginetest.Answer{Delay: time.Second, Pulled: true})
		r.run(spec)
		if st := r.state(spec); st.Containers[2].Known != task.ContainerRunning {
			t.Errorf("the pause container waits for the pull: %v", st.Containers[2].Known)
		}
		r.pass(time.Second)
		r.want(spec, task.Running)
		r.stopTask(spec)
		r.want(spec, task.Stopped)
		calls := r.docker.Calls()
		first := func(call string) int { return slices.Index(calls, call) }
		start, stop := first("start "+pauseName), first("stop "+pauseName)
		if start > first("create app") || start > first("create side") || stop < first("stop app") || stop < first("stop side") {
			t.Errorf("calls %q", calls)
		}
		// Nobody hears of it but by the task.
		for _, s := range r.report.Seen(spec.ARN) {
			if len(s.Containers) != 3 || s.Containers[2].Type != task.NamespacePause {
				t.Errorf("snapshot %+v", s.Containers)
			}
		}
	})
}

// TestPauseDies: the task stops and says why, whatever ended its pause container.
func TestPauseDies(t *testing.T) {
	for name, c := range map[string]struct {
		disturb func(r *rig)
		end     func(r *rig, id string)
		reason  string
	}{
		"killed":     {end: func(r *rig, id string) { r.docker.Exit(id, 137) }, reason: "Container " + pauseName + " of the agent ended, and the namespaces of the task with it, exit code 137"},
		"ended well": {end: func(r *rig, id string) { r.docker.Exit(id, 0) }, reason: "Container " + pauseName + " of the agent ended, and the namespaces of the task with it, exit code 0"},
		"removed":    {end: func(r *rig, id string) { r.docker.Delete(id) }, reason: "Container " + pauseName + " of the agent ended, and the namespaces of the task with it, exit code 137"},
		"never starts": {disturb: func(r *rig) {
			r.docker.Disturb(enginetest.Start, pauseName, enginetest.Knob{Err: &runtime.Failure{Reason: task.Error{Name: "CannotStartContainerError", Message: "no"}}})
		}, reason: "CannotStartContainerError: no"},
	} {
		t.Run(name, func(t *testing.T) {
			withPause(t, nil, func(r *rig, spec *task.Spec) {
				if c.disturb != nil {
					c.disturb(r)
				}
				r.run(spec)
				if c.end != nil {
					c.end(r, r.idOf(spec, 2))
					r.pass(time.Minute)
				}
				st := r.want(spec, task.Stopped)
				if st.TerminalReason != c.reason {
					t.Errorf("reason %q, want %q", st.TerminalReason, c.reason)
				}
			})
		})
	}
}

func TestPauseIsStoppedInSilence(t *testing.T) {
	withPause(t, nil, func(r *rig, spec *task.Spec) {
		r.run(spec)
		r.docker.Exit(r.idOf(spec, 0), 3)
		r.pass(time.Minute)
		if st := r.want(spec, task.Stopped); st.TerminalReason != "" {
			t.Errorf("reason %q", st.TerminalReason)
		}
	})
}

// TestPauseImageComesBack: an image that somebody removed is loaded again.
func TestPauseImageComesBack(t *testing.T) {
	loads := 0
	withPause(t, func(o *Options) { o.LoadPause = func(context.Context) error { loads++; return nil } }, func(r *rig, spec *task.Spec) {
		gone := &runtime.Failure{Reason: task.Error{Name: "CannotCreateContainerError", Message: "No such image: pause:1"}, Kind: runtime.ErrNotFound}
		r.docker.Disturb(enginetest.Create, pauseName, enginetest.Knob{Err: gone, Times: 1})
		r.run(spec)
		if r.want(spec, task.Running); loads != 1 {
			t.Errorf("loaded %d times", loads)
		}
	})
}

func TestNoPauseImage(t *testing.T) {
	withPause(t, func(o *Options) { o.Pause.Image = "" }, func(r *rig, spec *task.Spec) {
		r.run(spec)
		if st := r.want(spec, task.Stopped); !strings.HasSuffix(st.TerminalReason, "need the pause image, which is not loaded on this container instance") {
			t.Errorf("reason %q", st.TerminalReason)
		}
	})
}
