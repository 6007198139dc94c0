package taskengine

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	dockerimage "github.com/docker/docker/api/types/image"

	"ecsagent/agent/engine"
	"ecsagent/agent/task"
	"ecsagent/tests/proxy"
)

// The calls of a task's life.
const (
	create  = "POST /containers/create"
	start   = "POST /containers/{id}/start"
	stop    = "POST /containers/{id}/stop"
	kill    = "POST /containers/{id}/kill"
	inspect = "GET /containers/{id}/json"
	list    = "GET /containers/json"
	remove  = "DELETE /containers/{id}"
	events  = "GET /events"
)

// gone checks that nothing of a task is left in the engine after its clean-up.
func (r *rig) gone(spec *task.Spec) {
	r.t.Helper()
	r.accept(spec)
	r.eventually("the clean-up of the task", func() bool { return r.Snapshot(spec.ARN) == nil })
	if left := r.containers(spec); len(left) != 0 {
		r.t.Errorf("clean-up left %s", pretty(left))
	}
}

// soon makes clean-up begin at once.
func soon(o *engine.Options) { o.CleanupWait = time.Millisecond }

// Each call of a task's life is slow, one after the other: it takes longer, and nothing
// else.
func TestSlowEngine(t *testing.T) {
	for _, call := range []string{create, start, inspect, stop, list} {
		t.Run(call, func(t *testing.T) {
			r := newRig(t, noTrouble())
			f := r.proxy.Disturb(call, 0, proxy.Slow(1500*time.Millisecond))
			spec := r.spec(sleeper("app"))
			r.runs(spec)
			st := r.stops(spec)
			r.ended(&st.Containers[0], "0", "")
			r.single(spec)
			if f.Hits() == 0 && call != list && call != inspect {
				t.Error("nothing was slow")
			}
		})
	}
}

// An engine that answers nothing any more yields no status at all, and everything goes on
// when it answers again.
func TestHungEngine(t *testing.T) {
	s := noTrouble()
	s.docker.Inspect, s.docker.List, s.docker.Ping, s.docker.StopGrace = 3*time.Second, 3*time.Second, 3*time.Second, time.Second
	s.options = func(o *engine.Options) { o.ReconcileEvery = 500 * time.Millisecond }
	r := newRig(t, s)
	runs, ends := r.spec(sleeper("app")), r.spec(sleeper("app"))
	r.runs(runs)
	r.runs(ends)
	f := r.proxy.Disturb("", 0, proxy.Hang())
	r.proxy.CloseStreams()
	r.ask(ends)
	// Long enough for the periodic check, the stop's time-out and a ping.
	r.hit(f, 8)
	r.never(runs, task.Stopped)
	r.never(ends, task.Stopped)
	r.waitsFor(ends, "Docker to ")
	f.Lift()
	st := r.becomes(ends, task.Stopped)
	r.ended(&st.Containers[0], "0", reasonOf(&st.Containers[0]))
	r.never(runs, task.Stopped)
	r.single(runs)
	st = r.stops(runs)
	r.ended(&st.Containers[0], "0", "")
	r.works()
}

// The answer to a create is lost, cut or late. The container is made once, and goes with
// its task.
func TestCreateWithoutAnAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		action proxy.Action
		limit  time.Duration
		reason string
	}{
		"lost":     {proxy.LoseAnswer(), 0, "CannotCreateContainerError: "},
		"cut":      {proxy.Halve(), 0, "CannotCreateContainerError: "},
		"never":    {proxy.Mute(), time.Second, "DockerTimeoutError: Could not transition to created; timed out after waiting 1s"},
		"not told": {proxy.Reset(), 0, "CannotCreateContainerError: "},
		"500":      {proxy.Fail(http.StatusInternalServerError, "boom"), 0, "CannotCreateContainerError: Error response from daemon: boom"},
	} {
		t.Run(name, func(t *testing.T) {
			s := noTrouble()
			s.docker.Create, s.options = c.limit, soon
			r := newRig(t, s)
			r.proxy.Disturb(create, 1, c.action)
			spec := r.spec(sleeper("app"))
			r.run(spec)
			st := r.becomes(spec, task.Stopped)
			if got := reasonOf(&st.Containers[0]); !strings.HasPrefix(got, c.reason) {
				t.Errorf("reason %q, want %q", got, c.reason)
			}
			r.ended(&st.Containers[0], "none", reasonOf(&st.Containers[0]))
			if n := len(r.containers(spec)); n > 1 {
				t.Errorf("%d containers", n)
			}
			r.gone(spec)
			r.works()
		})
	}
}

// A create takes effect after its time-out: clean-up removes what nobody asked for any
// more.
func TestLateCreateIsRemoved(t *testing.T) {
	s := noTrouble()
	s.docker.Create = time.Second
	s.options = func(o *engine.Options) { o.CleanupWait = 4 * time.Second }
	r := newRig(t, s)
	late := make(chan struct{})
	r.proxy.Disturb(create, 1, proxy.Hold(late))
	spec := r.spec(sleeper("app"))
	r.run(spec)
	st := r.becomes(spec, task.Stopped)
	r.ended(&st.Containers[0], "none", "DockerTimeoutError: Could not transition to created; timed out after waiting 1s")
	close(late)
	r.eventually("the late container", func() bool { return len(r.containers(spec)) == 1 })
	if c := r.single(spec); c.State != "created" {
		t.Errorf("the late container is %s", c.State)
	}
	r.gone(spec)
}

// The answer to a start is lost, cut or late: the container may run, so it is stopped.
func TestStartWithoutAnAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		action proxy.Action
		limit  time.Duration
		reason string
		exit   string
	}{
		"lost":     {proxy.LoseAnswer(), 0, "CannotStartContainerError: ", "137"},
		"never":    {proxy.Mute(), 1500 * time.Millisecond, "DockerTimeoutError: Could not transition to started; timed out after waiting 1.5s", "137"},
		"not told": {proxy.Reset(), 0, "CannotStartContainerError: ", "none"},
		"500":      {proxy.Fail(http.StatusInternalServerError, "boom"), 0, "CannotStartContainerError: Error response from daemon: boom", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			s := noTrouble()
			s.docker.Start, s.options = c.limit, func(o *engine.Options) { o.StopTimeout = time.Second }
			r := newRig(t, s)
			r.proxy.Disturb(start, 1, c.action)
			// It ignores SIGTERM, so that it ends in one way only.
			spec := r.spec(sh("app", "trap '' TERM; sleep 3600 & while :; do wait; done"))
			r.run(spec)
			st := r.becomes(spec, task.Stopped)
			if got := reasonOf(&st.Containers[0]); !strings.HasPrefix(got, c.reason) {
				t.Errorf("reason %q, want %q", got, c.reason)
			}
			r.eventually("the container not to run", func() bool { return r.single(spec).State != "running" })
			r.ended(&r.state(spec).Containers[0], c.exit, reasonOf(&st.Containers[0]))
			r.works()
		})
	}
}

// A start takes effect after its time-out, and after the stop that followed: the
// container is stopped again.
func TestLateStartIsUndone(t *testing.T) {
	s := noTrouble()
	s.docker.Start, s.options = time.Second, func(o *engine.Options) { o.StopTimeout = time.Second }
	r := newRig(t, s)
	late := make(chan struct{})
	r.proxy.Disturb(start, 1, proxy.Hold(late))
	spec := r.spec(sleeper("app"))
	r.run(spec)
	st := r.becomes(spec, task.Stopped)
	r.ended(&st.Containers[0], "none", "DockerTimeoutError: Could not transition to started; timed out after waiting 1s")
	if c := r.single(spec); c.State != "created" {
		t.Fatalf("the container is %s", c.State)
	}
	close(late)
	r.eventually("the container to have run and ended", func() bool { return r.single(spec).State == "exited" })
	r.works()
}

// The container cannot be looked at after its start: it is stopped.
func TestInspectFailsAfterStart(t *testing.T) {
	for name, c := range map[string]struct {
		action proxy.Action
		reason string
	}{
		"500":   {proxy.Fail(http.StatusInternalServerError, "boom"), "CannotInspectContainerError: Error response from daemon: boom"},
		"cut":   {proxy.Halve(), "CannotInspectContainerError: "},
		"never": {proxy.Hang(), "DockerTimeoutError: Could not transition to inspecting; timed out after waiting 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			s := noTrouble()
			s.docker.Inspect = time.Second
			s.options = func(o *engine.Options) { o.StopTimeout = time.Second }
			r := newRig(t, s)
			r.proxy.Disturb(inspect, 1, c.action)
			spec := r.spec(sh("app", "trap '' TERM; sleep 3600 & while :; do wait; done"))
			r.run(spec)
			st := r.becomes(spec, task.Stopped)
			if got := reasonOf(&st.Containers[0]); !strings.HasPrefix(got, c.reason) {
				t.Errorf("reason %q, want %q", got, c.reason)
			}
			r.ended(&st.Containers[0], "137", reasonOf(&st.Containers[0]))
			r.eventually("the container not to run", func() bool { return r.single(spec).State != "running" })
			r.works()
		})
	}
}

// An inspect that fails in the periodic check says nothing of the container.
func TestFailedChecksSayNothing(t *testing.T) {
	s := noTrouble()
	s.docker.Inspect, s.docker.List = time.Second, time.Second
	s.options = func(o *engine.Options) { o.ReconcileEvery = 100 * time.Millisecond }
	r := newRig(t, s)
	spec := r.spec(sleeper("app"))
	r.runs(spec)
	for name, action := range map[string]proxy.Action{
		"500": proxy.Fail(http.StatusInternalServerError, "boom"), "503": proxy.Fail(http.StatusServiceUnavailable, "starting"),
		"cut": proxy.Halve(), "reset": proxy.Reset(), "hang": proxy.Hang(),
	} {
		for _, call := range []string{list, inspect} {
			f := r.proxy.Disturb(call, 0, action)
			if call == list {
				r.hit(f, 2)
			}
			r.proxy.CloseStreams() // so that it looks at once
			f.Lift()
			_ = name
		}
	}
	r.never(spec, task.Stopped)
	st := r.stops(spec)
	r.ended(&st.Containers[0], "0", "")
}

// What happens while the event stream is cut is known with its exit code as soon as the
// stream is back: Docker repeats what it remembers.
func TestEventsAreResumed(t *testing.T) {
	r := newRig(t, noTrouble())
	spec := r.spec(sh("app", "trap 'exit 7' TERM; sleep 3600 & while :; do wait; done"), sh("other", "trap 'exit 0' TERM; while :; do sleep 0.05; done", nonEssential))
	st := r.runs(spec)
	back := make(chan struct{})
	f := r.proxy.Disturb(events, 0, proxy.Hold(back))
	if r.proxy.CloseStreams() == 0 {
		t.Fatal("the agent follows no events")
	}
	r.hit(f, 1)
	r.kill(st.Containers[0].RuntimeID, "TERM")
	r.eventually("the container to end", func() bool {
		info, err := shared.docker.ContainerInspect(r.ctx, st.Containers[0].RuntimeID)
		return err == nil && !info.State.Running
	})
	r.never(spec, task.Stopped)
	// The comparison that follows a reconnect must not be what finds it.
	listing := r.proxy.Disturb(list, 0, proxy.Hang())
	f.Lift()
	close(back)
	st = r.becomes(spec, task.Stopped)
	listing.Lift()
	r.ended(&st.Containers[0], "7", "")
	r.ended(&st.Containers[1], "0", "")
	r.works()
}

// More happens in the gap than Docker remembers: the comparison finds it.
func TestMoreEventsAreMissedThanDockerRemembers(t *testing.T) {
	r := newRig(t, noTrouble())
	spec := r.spec(sh("app", "trap 'exit 7' TERM; sleep 3600 & while :; do wait; done"))
	st := r.runs(spec)
	id := st.Containers[0].RuntimeID
	back := make(chan struct{})
	f := r.proxy.Disturb(events, 0, proxy.Hold(back))
	r.proxy.CloseStreams()
	r.hit(f, 1)
	r.kill(id, "TERM")
	r.eventually("the container to end", func() bool {
		info, err := shared.docker.ContainerInspect(r.ctx, id)
		return err == nil && !info.State.Running
	})
	tag := "noise-" + r.cluster + ":1"
	for range 300 { // Docker remembers 256
		if err := shared.docker.ImageTag(r.ctx, shared.tools, tag); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { untag(tag) })
	f.Lift()
	close(back)
	st = r.becomes(spec, task.Stopped)
	r.ended(&st.Containers[0], "7", "")
}

// The stream breaks again and again while tasks come and go.
func TestStreamThatKeepsBreaking(t *testing.T) {
	r := newRig(t, noTrouble())
	broken := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-broken:
				return
			case <-time.After(30 * time.Millisecond):
				r.proxy.CloseStreams()
			}
		}
	}()
	var specs []*task.Spec
	for i := range 6 {
		spec := r.spec(sh("app", fmt.Sprintf("sleep 0.3; exit %d", i)))
		r.run(spec)
		specs = append(specs, spec)
	}
	for i, spec := range specs {
		st := r.becomes(spec, task.Stopped)
		r.ended(&st.Containers[0], fmt.Sprint(i), "")
		r.single(spec)
	}
	close(broken)
	<-done
}

// Connections break in the middle of everything, at every call in turn, while a task
// runs and stops: there is never more than one container, and no end that was not one.
func TestAnyCallIsCutOnce(t *testing.T) {
	for _, call := range []string{create, start, inspect, stop} {
		for name, action := range map[string]proxy.Action{"reset": proxy.Reset(), "answer lost": proxy.LoseAnswer(), "half": proxy.Halve()} {
			t.Run(call+" "+name, func(t *testing.T) {
				s := noTrouble()
				s.options = func(o *engine.Options) { o.StopTimeout, o.CleanupWait = time.Second, time.Millisecond }
				r := newRig(t, s)
				r.proxy.Disturb(call, 1, action)
				spec := r.spec(sleeper("app"))
				r.run(spec)
				st := r.await(spec, "outcome", func(st *task.State) bool { return st.Known >= task.Running })
				if st.Known == task.Running {
					r.heeds(st.Containers[0].RuntimeID)
					r.ask(spec)
				}
				st = r.await(spec, "end", func(st *task.State) bool { return st.Known == task.Stopped })
				if c := &st.Containers[0]; c.Error == nil && c.ExitCode == nil {
					t.Errorf("the end has neither reason nor exit code: %s", pretty(st))
				}
				for _, c := range r.containers(spec) {
					r.eventually("the container not to run", func() bool {
						info, err := shared.docker.ContainerInspect(r.ctx, c.ID)
						return err != nil || !info.State.Running
					})
				}
				if n := len(r.containers(spec)); n > 1 {
					t.Errorf("%d containers", n)
				}
				r.gone(spec)
			})
		}
	}
}

func untag(tag string) {
	_, _ = shared.docker.ImageRemove(context.Background(), tag, dockerimage.RemoveOptions{})
}
