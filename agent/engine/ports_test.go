package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

var portTaken = &runtime.Failure{
	Reason: task.Error{Name: "CannotStartContainerError", Message: "Error response from daemon: Bind for 0.0.0.0:40001 failed: port is already allocated"},
	Kind:   runtime.ErrPortTaken,
}

func specWithPorts(id string, fixed ...uint16) *task.Spec {
	spec := specOf(id, "app")
	spec.Containers[0].Ports = []task.PortMapping{{ContainerPort: 80, Protocol: task.TCP}}
	for _, n := range fixed {
		spec.Containers[0].Ports = []task.PortMapping{{ContainerPort: 80, HostPort: n, Protocol: task.TCP}}
	}
	return spec
}

// wantNothingLeft stops the task, has it cleaned up and looks for what remains.
func (r *rig) wantNothingLeft(spec *task.Spec) {
	r.stopTask(spec)
	r.want(spec, task.Stopped)
	if n := r.ports.Held(); n != 0 {
		r.t.Errorf("%d ports are held after the end", n)
	}
	r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
	r.pass(4 * time.Hour)
	if left := r.docker.Containers(); len(left) != 0 {
		r.t.Errorf("left over: %+v", left)
	}
}

func TestTakenPortIsReplaced(t *testing.T) {
	in(t, nil, func(r *rig) {
		r.docker.Disturb(enginetest.Start, "", enginetest.Knob{Err: portTaken, Times: 2})
		look := make(chan struct{})
		r.docker.Disturb(enginetest.Remove, "", enginetest.Knob{Block: look, Times: 1})
		spec := specWithPorts("one")
		r.run(spec)
		// The other name is on disk before the container is made under it.
		old := r.docker.Containers()[0]
		saved, _ := r.store.State(spec.ARN)
		if c := saved.Containers[0]; c.DockerName == old.Name || c.RuntimeID != "" || c.HostPorts[0] != 40002 || !slices.Equal(c.Discarded, []string{old.ID}) {
			t.Errorf("saved %+v", c)
		}
		close(look)
		synctest.Wait()
		st := r.want(spec, task.Running)
		if c := &st.Containers[0]; c.HostPorts[0] != 40003 || c.Error != nil || c.DockerName != r.docker.Containers()[0].Name || c.RuntimeID != r.docker.Containers()[0].ID {
			t.Errorf("container %+v", c)
		}
		want := []string{"list ", "create app", "start app", "remove app", "create app", "start app", "remove app", "create app", "start app", "inspect app"}
		if diff := cmp.Diff(want, r.docker.Calls()); diff != "" {
			t.Errorf("calls: %s", diff)
		}
		if n := r.ports.Held(); n != 1 {
			t.Errorf("%d ports are held", n)
		}
		if all := strings.Join(r.told(spec), "\n"); !strings.Contains(all, "app port: of [40001] one is taken by somebody else, [40002] are tried") {
			t.Error(all)
		}
		r.wantNothingLeft(spec)
	})
}

func TestTakenPortIsReported(t *testing.T) {
	for name, tt := range map[string]struct {
		spec    *task.Spec
		creates int
	}{
		"again and again": {specWithPorts("one"), 1 + portRetries},
		"fixed":           {specWithPorts("one", 80), 1},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(r *rig) {
				r.docker.Disturb(enginetest.Start, "", enginetest.Knob{Err: portTaken})
				r.run(tt.spec)
				st := r.want(tt.spec, task.Stopped)
				if err := st.Containers[0].Error; err == nil || *err != portTaken.Reason {
					t.Errorf("error %v", err)
				}
				if n := r.docker.Count(enginetest.Create); n != tt.creates {
					t.Errorf("%d creates", n)
				}
				r.wantNothingLeft(tt.spec)
			})
		})
	}
}

// TestTakenPortMeetsTrouble: whatever happens while ports are replaced, the task
// ends as it should and nothing is left over.
func TestTakenPortMeetsTrouble(t *testing.T) {
	for name, tt := range map[string]struct {
		trouble func(r *rig, spec *task.Spec)
		want    task.Status
	}{
		"stop": {func(r *rig, spec *task.Spec) { r.stopTask(spec) }, task.Stopped},
		"disk": {func(r *rig, _ *task.Spec) {
			r.store.Fail(errors.New("no"))
			r.pass(time.Second)
			r.store.Fail(nil)
		}, task.Stopped},
		"remove fails": {func(r *rig, _ *task.Spec) {
			r.docker.Disturb(enginetest.Remove, "", enginetest.Knob{Err: errors.New("busy"), Times: 1})
		}, task.Running},
		"create fails": {func(r *rig, _ *task.Spec) {
			r.docker.Disturb(enginetest.Create, "", enginetest.Knob{Err: errors.New("no")})
		}, task.Stopped},
		"kill before the new container": {func(r *rig, _ *task.Spec) {
			r.docker.Disturb(enginetest.Remove, "", enginetest.Knob{Block: make(chan struct{}), Times: 1})
			r.pass(time.Second)
			r.kill()
			r.start()
		}, task.Running},
		"kill after the new container": {func(r *rig, _ *task.Spec) {
			r.docker.Disturb(enginetest.Start, "", enginetest.Knob{Err: portTaken, Delay: 500 * time.Millisecond, Times: 2})
			r.pass(700 * time.Millisecond)
			r.kill()
			r.start()
		}, task.Running},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(r *rig) {
				r.docker.Disturb(enginetest.Start, "", enginetest.Knob{Err: portTaken, Delay: 500 * time.Millisecond, Times: 1})
				spec := specWithPorts("one")
				r.run(spec)
				tt.trouble(r, spec)
				r.pass(time.Minute)
				st := r.want(spec, tt.want)
				if tt.want == task.Running && len(st.Containers[0].Discarded) == 0 {
					t.Error("no other ports were tried")
				}
				r.wantNothingLeft(spec)
			})
		})
	}
}

// TestForeignPortEventsAreIgnored: the end of the container that was replaced is not
// the end of the one that runs.
func TestForeignPortEventsAreIgnored(t *testing.T) {
	in(t, nil, func(r *rig) {
		r.docker.Disturb(enginetest.Start, "", enginetest.Knob{Err: portTaken, Times: 1})
		spec := specWithPorts("one")
		r.run(spec)
		old := labelled(spec, 0, runtime.Container{ID: r.state(spec).Containers[0].Discarded[0], Name: "old"})
		for _, ev := range []runtime.EventType{runtime.EventDie, runtime.EventDestroy} {
			r.docker.Emit(runtime.Event{Type: ev, ID: old.ID, Name: old.Name, Labels: old.Labels, Time: time.Now()})
		}
		synctest.Wait()
		r.want(spec, task.Running)
		if err := r.StopTasks(context.Background(), []string{spec.ARN}); err != nil {
			t.Fatal(err)
		}
	})
}
