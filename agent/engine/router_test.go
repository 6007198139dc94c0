package engine

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// addressless is Docker that does not tell addresses at first.
type addressless struct {
	Runtime
	looks, blind atomic.Int32
	fails        error // after the first look
}

func (a *addressless) Inspect(ctx context.Context, id string) (runtime.Container, error) {
	c, err := a.Runtime.Inspect(ctx, id)
	if n := a.looks.Add(1); n > 1 && a.fails != nil {
		return runtime.Container{}, a.fails
	} else if n <= a.blind.Load() {
		c.Networks = nil
	}
	return c, err
}

// logging is a task in which app logs to router.
func logging(id string) *task.Spec {
	spec := specOf(id, "app", "router")
	spec.Containers[0].DockerHostConfig = `{"LogConfig":{"Type":"awsfirelens"}}`
	spec.Containers[1].FireLens = &task.FireLens{Type: task.FluentBit}
	return spec
}

// withRouter is a rig of which Docker tells no address the first times.
func withRouter(t *testing.T, blind int32, fails error, test func(*rig, *addressless, keepingBuilder)) {
	t.Helper()
	d := &addressless{fails: fails}
	d.blind.Store(blind)
	b := keepingBuilder{requests: make(map[string]runtime.CreateRequest), mu: new(sync.Mutex)}
	in(t, func(o *Options) {
		b.Builder = dockerspec.New(dockerspec.Env{OS: "linux", CPUs: 2, Cluster: "demo", FireLens: dockerspec.FireLens{Dir: "/d", Async: true}}, func() uint64 { return 1 })
		d.Runtime = o.Runtime
		o.Runtime, o.Builder = d, b
	}, func(r *rig) { test(r, d, b) })
}

// A FireLens container counts as started once it has the address that others are told.
func TestRouterAddress(t *testing.T) {
	withRouter(t, 3, nil, func(r *rig, d *addressless, b keepingBuilder) {
		spec := logging("one")
		r.run(spec)
		if st := r.state(spec); st.Containers[1].Known != task.ContainerCreated || st.Containers[0].Known >= task.ContainerCreated {
			t.Fatalf("before the address is known: router %v, app %v", st.Containers[1].Known, st.Containers[0].Known)
		}
		r.pass(9 * time.Second) // 1, 2 and 4 seconds, a fifth more at most
		r.want(spec, task.Running)
		if looks := d.looks.Load(); looks != 5 { // four for the router
			t.Errorf("Docker was asked %d times, want 5", looks)
		}
		if env := b.requests["app"].Config.Env; !slices.Contains(env, "FLUENT_HOST=172.17.0.2") {
			t.Errorf("environment %q", env)
		}
	})
}

func TestRouterWithoutAddress(t *testing.T) {
	withRouter(t, 1000, nil, func(r *rig, d *addressless, b keepingBuilder) {
		spec := logging("one")
		r.run(spec)
		r.pass(59 * time.Second)
		if st := r.state(spec); st.Desired == task.Stopped {
			t.Fatalf("given up too early: %+v", st)
		}
		r.pass(40 * time.Second) // the stop included
		st := r.want(spec, task.Stopped)
		if got, want := st.Containers[1].Error, "CannotStartContainerError: FireLens container router has no address in Docker's network bridge after 1m0s"; got == nil || got.Error() != want {
			t.Errorf("error %v, want %s", got, want)
		}
		for _, c := range r.docker.Containers() {
			if c.Status.IsRunning() {
				t.Errorf("container %s runs on", c.Name)
			}
		}
		if _, made := b.requests["app"]; made {
			t.Error("the container that would log to it was created")
		}
	})
	withRouter(t, 1, &task.Error{Name: "CannotInspectContainerError", Message: "gone"}, func(r *rig, _ *addressless, _ keepingBuilder) {
		spec := logging("one")
		r.run(spec)
		r.pass(time.Minute)
		if got := r.want(spec, task.Stopped).Containers[1].Error; got == nil || got.Error() != "CannotInspectContainerError: gone" {
			t.Errorf("error %v", got)
		}
	})
}

// Without a FireLens container a container that logs to one fails, and nothing else does.
func TestNoRouter(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec, other := logging("one"), specOf("two", "app")
		spec.Containers[1].FireLens = nil
		r.run(spec)
		r.run(other)
		r.pass(time.Minute)
		if got := r.want(spec, task.Stopped).Containers[0].Error; got == nil || !strings.HasSuffix(got.Error(), "the task has no FireLens container") {
			t.Errorf("error %v", got)
		}
		r.want(other, task.Running)
	})
}
