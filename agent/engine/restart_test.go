package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// TestRestartFindsWhatRuns: A12 of docs/spec/02 chapter 13. One list call, and no
// inspect for what simply runs.
func TestRestartFindsWhatRuns(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		spec.Containers[0].Ports = []task.PortMapping{{ContainerPort: 80, Protocol: task.TCP}}
		r.run(spec)
		before := r.want(spec, task.Running)
		r.stop()
		calls := len(r.docker.Calls())
		r.start()
		after := r.want(spec, task.Running)
		if got := r.docker.Calls()[calls:]; len(got) != 1 || got[0] != "list " {
			t.Errorf("calls %v", got)
		}
		b, a := &before.Containers[0], &after.Containers[0]
		if a.EndpointID != b.EndpointID || a.RuntimeID != b.RuntimeID || r.ports.Held() != 1 {
			t.Errorf("before %+v\nafter %+v", b, a)
		}
		r.stopTask(spec)
		r.want(spec, task.Stopped)
	})
}

func TestWhatHappenedWhileAway(t *testing.T) {
	tests := []struct {
		name   string
		meddle func(d *enginetest.Runtime, id string)
		exit   string
		reason string
	}{
		{"exited", func(d *enginetest.Runtime, id string) { d.Exit(id, 4) }, "4", ""},
		{"killed for memory", func(d *enginetest.Runtime, id string) { d.OOM(id) }, "137", "OutOfMemoryError: Container killed due to memory usage"},
		{"removed", func(d *enginetest.Runtime, id string) { d.Delete(id) }, "none", "ContainerVanishedError: No container matching saved ID found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, nil, func(r *rig) {
				spec := specOf("one", "app")
				// An exit that nobody saw is not restarted (docs/spec/02 section 9.6).
				spec.Containers[0].Restart = &task.RestartPolicy{Enabled: true}
				r.run(spec)
				r.stop()
				r.pass(time.Hour)
				tt.meddle(r.docker, r.idOf(spec, 0))
				r.start()
				st := r.want(spec, task.Stopped)
				c := &st.Containers[0]
				reason := ""
				if c.Error != nil {
					reason = c.Error.Error()
				}
				if exitOf(c) != tt.exit || reason != tt.reason {
					t.Errorf("exit %s, reason %q", exitOf(c), reason)
				}
			})
		})
	}
}

// TestDockerDownAtStart: what cannot be seen is not taken for stopped.
func TestDockerDownAtStart(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		r.stop()
		r.docker.Down(true)
		r.start()
		other := specOf("two", "app")
		r.run(other) // is taken all the same
		r.pass(time.Hour)
		r.want(spec, task.Running)
		r.want(other, task.None)
		r.docker.Down(false)
		r.pass(time.Minute)
		r.want(spec, task.Running)
		r.want(other, task.Running)
		if n := r.docker.Count(enginetest.Create); n != 2 {
			t.Errorf("%d creates", n)
		}
	})
}

// TestEventsWereLost: after the stream was interrupted one list finds what changed.
func TestEventsWereLost(t *testing.T) {
	in(t, nil, func(r *rig) {
		gone, stays := specOf("gone", "app"), specOf("stays", "app")
		r.run(gone)
		r.run(stays)
		lists, inspects := r.docker.Count(enginetest.List), r.docker.Count(enginetest.Inspect)
		r.docker.Silence(true)
		r.docker.Exit(r.idOf(gone, 0), 6)
		r.pass(time.Second)
		r.want(gone, task.Running)
		r.docker.Silence(false)
		synctest.Wait()
		if st := r.want(gone, task.Stopped); exitOf(&st.Containers[0]) != "6" {
			t.Errorf("container %+v", st.Containers[0])
		}
		r.want(stays, task.Running)
		if l, i := r.docker.Count(enginetest.List)-lists, r.docker.Count(enginetest.Inspect)-inspects; l != 1 || i != 1 {
			t.Errorf("%d lists and %d inspects", l, i)
		}
	})
}

// TestPeriodicCheck finds what no event told of, at the price of one list.
func TestPeriodicCheck(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		r.docker.Silence(true)
		r.docker.Delete(r.idOf(spec, 0))
		r.pass(6 * time.Minute)
		st := r.want(spec, task.Stopped)
		if err := st.Containers[0].Error; err == nil || err.Name != "ContainerVanishedError" {
			t.Errorf("error %v", err)
		}
	})
	in(t, nil, func(r *rig) {
		r.pass(time.Hour)
		if n := len(r.docker.Calls()); n != 1 {
			t.Errorf("an idle engine made %d calls", n)
		}
	})
}

func TestForeignContainersAreLeft(t *testing.T) {
	in(t, nil, func(r *rig) {
		r.stop()
		ghost := specOf("ghost", "app")
		r.docker.Put(labelled(ghost, 0, runtime.Container{ID: "x", Name: "x", Status: task.ContainerRunning}))
		r.start()
		if c := r.docker.Containers(); len(c) != 1 || c[0].Status != task.ContainerRunning || r.Snapshot(ghost.ARN) != nil {
			t.Errorf("containers %+v", c)
		}
	})
}

// TestLostState: when the record of the state was lost the containers are found by
// their labels.
func TestLostState(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		r.stop()
		id := r.idOf(spec, 0)
		if err := r.store.SaveState(spec.ARN, task.State{}); err != nil {
			t.Fatal(err)
		}
		r.start()
		st := r.want(spec, task.Running)
		if c := &st.Containers[0]; c.RuntimeID != id || c.DockerName != r.docker.Containers()[0].Name {
			t.Errorf("container %+v", c)
		}
		if n := r.docker.Count(enginetest.Create); n != 1 {
			t.Errorf("%d creates", n)
		}
	})
}

// TestEndInTheMiddle: the engine ends at once, whatever is under way, and takes no
// interrupted step for a failed one.
func TestEndInTheMiddle(t *testing.T) {
	for _, op := range []enginetest.Op{enginetest.Create, enginetest.Start, enginetest.Inspect, enginetest.Stop} {
		t.Run(string(op), func(t *testing.T) {
			in(t, nil, func(r *rig) {
				r.docker.Disturb(op, "", enginetest.Knob{Delay: time.Minute})
				spec := specOf("one", "app")
				r.run(spec)
				if op == enginetest.Stop {
					r.stopTask(spec)
				}
				begin := time.Now()
				r.stop()
				if took := time.Since(begin); took != 0 {
					t.Errorf("took %v to end", took)
				}
				if saved, _ := r.store.State(spec.ARN); saved.Known == task.Stopped || saved.Containers[0].Error != nil {
					t.Errorf("saved %+v", saved)
				}
				r.docker.Disturb(op, "", enginetest.Knob{})
				r.start()
				if op == enginetest.Stop {
					time.Sleep(2 * endGrace)
					r.want(spec, task.Stopped)
				} else {
					r.want(spec, task.Running)
				}
				if n := len(r.docker.Containers()); n != 1 {
					t.Errorf("%d containers", n)
				}
			})
		})
	}
}

// TestKilledAnywhere kills the engine at random instants, without a chance to save,
// while tasks come and go: in the end each task is where ECS wants it, each
// container was made once, and nothing was reported that is not so.
func TestKilledAnywhere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var story killStory
		story.draw(rt)
		var c collector
		synctest.Test(t, func(*testing.T) { story.play(&c) })
		if len(c.failures) > 0 {
			rt.Fatalf("%+v\n%s", story, strings.Join(c.failures, "\n"))
		}
	})
}

// killStory is what happens in one run; drawn beforehand, because a bubble cannot
// end in the middle of a draw.
type killStory struct {
	delays map[enginetest.Op]enginetest.Knob
	lives  []killedLife
}

type killedLife struct {
	before, after time.Duration // until the stop, and from there until the kill
	stop          int           // index of the task to stop; -1 for none
}

func (s *killStory) draw(rt *rapid.T) {
	s.delays = make(map[enginetest.Op]enginetest.Knob)
	for _, op := range []enginetest.Op{enginetest.Create, enginetest.Start, enginetest.Inspect, enginetest.Stop} {
		s.delays[op] = enginetest.Knob{
			Delay:    time.Duration(rapid.IntRange(1, 100).Draw(rt, string(op))) * time.Millisecond,
			Stubborn: rapid.Bool().Draw(rt, "stubborn"),
		}
	}
	for range rapid.IntRange(1, 4).Draw(rt, "kills") {
		s.lives = append(s.lives, killedLife{
			before: time.Duration(rapid.IntRange(0, 600).Draw(rt, "before")) * time.Millisecond,
			after:  time.Duration(rapid.IntRange(0, 200).Draw(rt, "after")) * time.Millisecond,
			stop:   max(-1, rapid.IntRange(-3, 1).Draw(rt, "stop")),
		})
	}
}

func (s *killStory) play(c *collector) {
	r := newRig(c, nil)
	r.store.Slow(20 * time.Millisecond)
	for op, k := range s.delays {
		r.docker.Disturb(op, "", k)
	}
	r.start()
	defer func() {
		if p := recover(); p != nil && p != any(c) {
			panic(p)
		}
		r.stop()
		r.docker.Close()
	}()
	specs := []*task.Spec{specOf("a", "app", "side"), specOf("b", "app")}
	specs[0].Containers[1].DependsOn = []task.Dependency{{Container: "app", Condition: task.DependsStart}}
	want := []task.Status{task.Running, task.Running}
	for _, spec := range specs {
		r.run(spec)
	}
	for _, life := range s.lives {
		r.pass(life.before)
		if life.stop >= 0 {
			r.stopTask(specs[life.stop])
			want[life.stop] = task.Stopped
		}
		r.pass(life.after)
		r.kill()
		r.start()
	}
	r.pass(time.Minute)
	for i, spec := range specs {
		r.want(spec, want[i])
	}
	names := make(map[string]bool)
	for _, k := range r.docker.Containers() {
		arn, name := k.Labels[runtime.LabelTaskARN], k.Labels[runtime.LabelContainerName]
		if names[arn+name] {
			r.t.Fatalf("two containers for %s of %s", name, arn)
		}
		names[arn+name] = true
		if k.Status == task.ContainerRunning && r.Snapshot(arn).State.Known == task.Stopped {
			r.t.Fatalf("%s runs past the end of %s", name, arn)
		}
	}
}

// collector keeps failures for later; Fatalf ends the story.
type collector struct {
	mu       sync.Mutex
	failures []string
}

func (c *collector) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, fmt.Sprintf(format, args...))
}

func (c *collector) Fatalf(format string, args ...any) {
	c.Errorf(format, args...)
	panic(c)
}

// kill ends the engine without letting it write another byte.
func (r *rig) kill() {
	r.dead.Store(true)
	r.store.Fail(errors.New("killed"))
	r.cancel()
	if err := <-r.ended; err != nil && !strings.Contains(err.Error(), "not saved") {
		r.t.Errorf("run: %v", err)
	}
	r.store.Fail(nil)
	r.dead.Store(false)
}

// interrupted is a task whose agent was killed when Docker had made the container and
// nothing of that was saved.
func interrupted(r *rig, status task.ContainerStatus) *task.Spec {
	spec := specOf("one", "app")
	r.docker.Disturb(enginetest.Create, "app", enginetest.Knob{Block: make(chan struct{})})
	r.run(spec)
	name := r.state(spec).Containers[0].DockerName
	r.stop()
	r.docker.Disturb(enginetest.Create, "app", enginetest.Knob{})
	c := labelled(spec, 0, runtime.Container{ID: "made", Name: name, Image: "sha256:app", Status: status, CreatedAt: time.Now()})
	r.docker.Put(c)
	return spec
}

// TestStartOfTheLastProcessIsNotRepeated: Docker tells of a start that a killed agent
// asked for while the next one looks at all containers. What that shows counts, however
// long it takes.
func TestStartOfTheLastProcessIsNotRepeated(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprintf("inspect fails %v", fails), func(t *testing.T) {
			in(t, nil, func(r *rig) {
				spec := interrupted(r, task.ContainerRunning)
				r.docker.Forget()
				// The list comes after the event, whose inspect takes longer than anything else.
				r.docker.Disturb(enginetest.List, "", enginetest.Knob{Delay: time.Second, Times: 1})
				slow := enginetest.Knob{Delay: time.Minute, Times: 1}
				if fails {
					slow.Err = errors.New("timeout")
				}
				r.docker.Disturb(enginetest.Inspect, "app", slow)
				r.start()
				c := r.docker.Containers()[0]
				r.docker.Emit(runtime.Event{Type: runtime.EventStart, ID: c.ID, Name: c.Name, Labels: c.Labels, Time: time.Now()})
				r.pass(2 * time.Minute)
				r.want(spec, task.Running)
				if n := r.docker.Count(enginetest.Create) + r.docker.Count(enginetest.Start); n > 0 {
					t.Errorf("calls %v, want neither create nor start", r.docker.Calls())
				}
			})
		})
	}
}

// TestStartUnderWayIsAwaited: Docker lists a container as created until its start is
// done; an inspect waits for that.
func TestStartUnderWayIsAwaited(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.docker.Disturb(enginetest.Start, "app", enginetest.Knob{Block: make(chan struct{})})
		r.run(spec)
		r.stop()
		r.docker.Disturb(enginetest.Start, "app", enginetest.Knob{})
		if c := r.docker.Containers(); len(c) != 1 || c[0].Status != task.ContainerCreated {
			t.Fatalf("containers %+v", c)
		}
		r.docker.Forget()
		r.docker.Disturb(enginetest.Inspect, "app", enginetest.Knob{Delay: time.Minute, Times: 1})
		r.start()
		r.pass(30 * time.Second)
		if n := r.docker.Count(enginetest.Start); n != 0 || r.docker.Count(enginetest.Inspect) != 1 {
			t.Errorf("calls %v, want an inspect that is waited for", r.docker.Calls())
		}
		r.pass(time.Minute)
		r.want(spec, task.Running)
	})
}
