package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

func TestStopFailures(t *testing.T) {
	boom := &task.Error{Name: "CannotStopContainerError", Message: "Error response from daemon: boom"}
	const shown = "CannotStopContainerError: Error response from daemon: boom"
	t.Run("killed in the end", func(t *testing.T) {
		in(t, nil, func(r *rig) {
			spec := specOf("one", "app")
			r.run(spec)
			r.docker.Disturb(enginetest.Stop, "", enginetest.Knob{Err: boom})
			r.stopTask(spec)
			r.pass(10 * time.Second)
			st := r.want(spec, task.Stopped)
			if c := &st.Containers[0]; c.Error == nil || c.Error.Error() != shown || exitOf(c) != "137" {
				t.Errorf("container %+v", c)
			}
			if n, kills := r.docker.Count(enginetest.Stop), r.docker.Count(enginetest.Kill); n != 5 || kills != 1 {
				t.Errorf("%d stops, %d kills", n, kills)
			}
		})
	})
	t.Run("cannot even be killed", func(t *testing.T) {
		in(t, nil, func(r *rig) {
			big, next := specOf("one", "app"), specOf("two", "app")
			big.Memory, next.Memory = 1500, 1500
			r.run(big)
			r.docker.Disturb(enginetest.Stop, "", enginetest.Knob{Err: boom})
			r.docker.Disturb(enginetest.Kill, "", enginetest.Knob{Err: boom})
			r.stopTask(big)
			r.run(next)
			r.pass(2 * time.Hour)
			st := r.want(big, task.Running)
			if c := &st.Containers[0]; c.Error == nil || c.Error.Error() != shown {
				t.Errorf("container %+v", c)
			}
			if st := r.state(next); st.Known != task.None {
				t.Errorf("the resources of a container that runs were given away: %+v", st)
			}
			if n := r.docker.Count(enginetest.Kill); n < 60 || n > 130 {
				t.Errorf("%d kills in two hours", n)
			}
			r.docker.Disturb(enginetest.Stop, "", enginetest.Knob{})
			r.pass(2 * time.Minute)
			st = r.want(big, task.Stopped)
			if c := &st.Containers[0]; c.Error == nil || c.Error.Error() != shown || exitOf(c) != "143" {
				t.Errorf("container %+v", c)
			}
			r.want(next, task.Running)
		})
	})
	t.Run("never answered", func(t *testing.T) {
		in(t, nil, func(r *rig) {
			spec := specOf("one", "app")
			r.run(spec)
			late := &runtime.Failure{Reason: task.Error{Name: "DockerTimeoutError", Message: "Could not transition to stopped; timed out after waiting 2m30s"}, Kind: runtime.ErrTimeout}
			r.docker.Disturb(enginetest.Stop, "", enginetest.Knob{Delay: 150 * time.Second, Err: late})
			r.stopTask(spec)
			r.pass(149 * time.Second)
			r.want(spec, task.Running)
			r.pass(2 * time.Second)
			st := r.want(spec, task.Stopped)
			if c := &st.Containers[0]; c.Error == nil || c.Error.Error() != late.Reason.Error() || exitOf(c) != "137" {
				t.Errorf("container %+v", c)
			}
			if n := r.docker.Count(enginetest.Stop); n != 1 {
				t.Errorf("%d stops", n)
			}
		})
	})
	t.Run("docker lies", func(t *testing.T) {
		in(t, nil, func(r *rig) {
			spec := specOf("one", "app")
			r.run(spec)
			r.docker.Disturb(enginetest.Stop, "", enginetest.Knob{Err: enginetest.ErrLie, Times: 2})
			r.stopTask(spec)
			r.pass(time.Second)
			r.want(spec, task.Running)
			r.pass(5 * time.Second)
			if st := r.want(spec, task.Stopped); st.Containers[0].Error != nil || exitOf(&st.Containers[0]) != "143" {
				t.Errorf("container %+v", st.Containers[0])
			}
		})
	})
	t.Run("once", func(t *testing.T) {
		in(t, nil, func(r *rig) {
			spec := specOf("one", "app")
			r.run(spec)
			r.docker.Disturb(enginetest.Stop, "", enginetest.Knob{Err: boom, Times: 1})
			r.stopTask(spec)
			r.pass(time.Second)
			if st := r.want(spec, task.Stopped); st.Containers[0].Error != nil || exitOf(&st.Containers[0]) != "143" {
				t.Errorf("container %+v", st.Containers[0])
			}
		})
	})
	t.Run("container is gone", func(t *testing.T) {
		in(t, nil, func(r *rig) {
			spec := specOf("one", "app")
			r.run(spec)
			r.docker.Silence(true)
			r.docker.Delete(r.idOf(spec, 0))
			r.stopTask(spec)
			r.want(spec, task.Stopped)
			if n := r.docker.Count(enginetest.Stop); n != 1 {
				t.Errorf("%d attempts", n)
			}
		})
	})
	t.Run("container goes while it is stopped", func(t *testing.T) {
		in(t, nil, func(r *rig) {
			spec := specOf("one", "app")
			r.run(spec)
			r.docker.Disturb(enginetest.Inspect, "", enginetest.Knob{Delay: time.Second})
			r.stopTask(spec)
			r.docker.Delete(r.idOf(spec, 0))
			r.pass(time.Second)
			if st := r.want(spec, task.Stopped); exitOf(&st.Containers[0]) != "143" || st.Containers[0].Error != nil {
				t.Errorf("container %+v", st.Containers[0])
			}
		})
	})
	t.Run("docker is down for an hour", func(t *testing.T) {
		in(t, nil, func(r *rig) {
			spec := specOf("one", "app")
			r.run(spec)
			r.docker.Down(true)
			r.stopTask(spec)
			r.pass(time.Hour)
			st := r.want(spec, task.Running)
			if st.Containers[0].Error != nil {
				t.Errorf("container %+v", st.Containers[0])
			}
			r.docker.Down(false)
			r.pass(2 * time.Minute)
			if st := r.want(spec, task.Stopped); exitOf(&st.Containers[0]) != "143" {
				t.Errorf("container %+v", st.Containers[0])
			}
		})
	})
}

func TestStepErrors(t *testing.T) {
	timeout := &runtime.Failure{Reason: task.Error{Name: "DockerTimeoutError", Message: "Could not transition to started; timed out after waiting 3m0s"}, Kind: runtime.ErrTimeout}
	tests := []struct {
		name   string
		knob   func(*rig)
		reason string
		stops  int
	}{
		{"create", func(r *rig) {
			r.docker.Disturb(enginetest.Create, "", enginetest.Knob{Err: errors.New("Error response from daemon: no space")})
		}, "CannotCreateContainerError: Error response from daemon: no space", 0},
		{"start", func(r *rig) {
			r.docker.Disturb(enginetest.Start, "", enginetest.Knob{Err: errors.New("no such file")})
		}, "CannotStartContainerError: no such file", 0},
		{"start lost its connection", func(r *rig) {
			r.docker.Disturb(enginetest.Start, "", enginetest.Knob{After: errors.New(`error during connect: Post "x": EOF`)})
		}, `CannotStartContainerError: error during connect: Post "x": EOF`, 1},
		{"start took too long and took effect", func(r *rig) {
			r.docker.Disturb(enginetest.Start, "", enginetest.Knob{Delay: 3 * time.Minute, After: timeout})
		}, timeout.Reason.Error(), 1},
		{"inspect", func(r *rig) {
			r.docker.Disturb(enginetest.Inspect, "", enginetest.Knob{Err: errors.New("broken"), Times: 1})
		}, "CannotInspectContainerError: broken", 1},
		{"build", func(r *rig) {}, "HostConfigError: Unable to decode given host config: unexpected end of JSON input", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, nil, func(r *rig) {
				tt.knob(r)
				spec := specOf("one", "app")
				spec.Containers[0].Ports = []task.PortMapping{{ContainerPort: 80, Protocol: task.TCP}}
				if tt.name == "build" {
					spec.Containers[0].DockerHostConfig = "{"
				}
				r.run(spec)
				r.pass(5 * time.Minute)
				st := r.want(spec, task.Stopped)
				if err := st.Containers[0].Error; err == nil || err.Error() != tt.reason {
					t.Errorf("reason %v", err)
				}
				if n := r.docker.Count(enginetest.Stop); n != tt.stops {
					t.Errorf("%d stops", n)
				}
				for _, c := range r.docker.Containers() {
					if c.Status == task.ContainerRunning {
						t.Error("a container runs on")
					}
				}
				if r.ports.Held() != 0 {
					t.Error("a port is still held")
				}
			})
		})
	}
}

// TestStartsAfterItsTimeout: A15 of docs/spec/02 chapter 13.
func TestStartsAfterItsTimeout(t *testing.T) {
	in(t, nil, func(r *rig) {
		timeout := &runtime.Failure{Reason: task.Error{Name: "DockerTimeoutError", Message: "x"}, Kind: runtime.ErrTimeout}
		r.docker.Disturb(enginetest.Start, "", enginetest.Knob{Err: timeout, Times: 1})
		spec := specOf("one", "app")
		r.run(spec)
		r.want(spec, task.Stopped)
		r.pass(time.Minute)
		if err := r.docker.Start(context.Background(), r.idOf(spec, 0)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if c := r.docker.Containers()[0]; c.Status != task.ContainerStopped {
			t.Errorf("container is %v", c.Status)
		}
	})
}

func TestPullFailure(t *testing.T) {
	unknown := &task.Error{Name: "CannotPullImageManifestError", Message: "Error response from daemon: name unknown"}
	for _, tt := range []struct {
		pull task.PullBehavior
		want string
	}{{task.PullAlways, "CannotPullImageManifestError"}, {task.PullDefault, ""}} {
		t.Run(tt.pull.String(), func(t *testing.T) {
			in(t, func(o *Options) { o.Pull = tt.pull }, func(r *rig) {
				r.images.OnDigest("app:1", enginetest.Answer{Err: unknown})
				spec := specOf("one", "app")
				spec.Containers[0].Essential = false
				r.run(spec)
				st := r.state(spec)
				switch err := st.Containers[0].Error; {
				case tt.want == "" && (err != nil || st.Known != task.Running):
					t.Errorf("task %v, error %v", st.Known, err)
				case tt.want != "" && (err == nil || err.Name != tt.want || st.Known != task.Stopped):
					t.Errorf("task %v, error %v", st.Known, err)
				}
			})
		})
	}
}

type panicBuilder struct{ Builder }

func (panicBuilder) Build(*task.Spec, int, *task.State, dockerspec.Inputs) (runtime.CreateRequest, error) {
	panic("nil dereference")
}

func TestPanicIsOneTasksFailure(t *testing.T) {
	in(t, func(o *Options) { o.Builder = panicBuilder{o.Builder} }, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		st := r.want(spec, task.Stopped)
		if err := st.Containers[0].Error; err == nil || err.Error() != "UnknownError: internal error in step create: nil dereference" {
			t.Errorf("error %v", err)
		}
	})
}
