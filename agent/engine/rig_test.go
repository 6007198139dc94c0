package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fataler is what a rig needs of a test; rapid's T has it too.
type fataler interface {
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// rig is an engine on fakes. It outlives the engine: restart makes a new one on the
// same Docker and the same disk.
type rig struct {
	t       fataler
	docker  *enginetest.Runtime
	store   *enginetest.Store
	images  *enginetest.Images
	ports   *enginetest.Ports
	report  *enginetest.Reporter
	edit    func(*Options)
	*Engine // the one that runs

	cancel context.CancelFunc
	ended  chan error
	dead   atomic.Bool // between a kill and the next start
}

// in runs a test on a rig, in a bubble with its own clock.
func in(t *testing.T, edit func(*Options), test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, edit)
		r.start()
		test(r)
		r.stop()
		r.docker.Close()
	})
}

func newRig(t fataler, edit func(*Options)) *rig {
	return &rig{
		t: t, edit: edit,
		docker: enginetest.New(), store: enginetest.NewStore(),
		images: &enginetest.Images{}, ports: &enginetest.Ports{},
	}
}

// start starts an engine with what is on disk and waits until it rests.
func (r *rig) start() {
	restored, seq := r.store.Load()
	r.report = &enginetest.Reporter{Check: r.durable}
	r.ports = &enginetest.Ports{}
	opt := Options{
		Store: r.store, Reporter: r.report, Runtime: r.docker, Images: r.images, HostPorts: r.ports,
		Builder: dockerspec.New(dockerspec.Env{OS: "linux", CPUs: 2, Cluster: "demo"}, rand.Uint64),
		Log:     zap.NewNop(), Restored: restored, Sequence: seq,
		Capacity: Capacity{CPU: 2048, Memory: 2048, ReservedTCP: []uint16{22}},
		Random:   func() float64 { return 0 },
	}
	if r.edit != nil {
		r.edit(&opt)
	}
	e, err := New(opt)
	if err != nil {
		r.t.Fatalf("new engine: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.Engine, r.cancel, r.ended = e, cancel, make(chan error, 1)
	go func() { r.ended <- e.Run(ctx) }()
	synctest.Wait()
}

// stop ends the engine, as SIGTERM does.
func (r *rig) stop() {
	r.cancel()
	if err := <-r.ended; err != nil {
		r.t.Errorf("run: %v", err)
	}
}

// durable checks that what the reporter hears of is on disk.
func (r *rig) durable(s *task.Snapshot) {
	if r.dead.Load() {
		return
	}
	saved, ok := r.store.State(s.ARN)
	if !ok {
		r.t.Errorf("observed %s, which is not saved", s.ARN)
		return
	}
	if saved.Known < s.State.Known || saved.Desired < s.State.Desired {
		r.t.Errorf("observed %v/%v of %s, saved %v/%v", s.State.Known, s.State.Desired, s.ARN, saved.Known, saved.Desired)
	}
	for i := range s.State.Containers {
		if got, want := saved.Containers[i].Known, s.State.Containers[i].Known; got < want && want != task.ContainerPulled && want != task.ContainerCreated {
			r.t.Errorf("observed container %d of %s as %v, saved %v", i, s.ARN, want, got)
		}
	}
}

// deliver delivers requests and waits until everything rests.
func (r *rig) deliver(requests ...task.Request) {
	if err := r.Deliver(context.Background(), task.Delivery{Tasks: requests}); err != nil {
		r.t.Fatalf("deliver: %v", err)
	}
	synctest.Wait()
}

func (r *rig) run(spec *task.Spec) { r.deliver(task.Request{Spec: spec, Desired: task.Running}) }

func (r *rig) stopTask(spec *task.Spec) { r.deliver(task.Request{Spec: spec, Desired: task.Stopped}) }

func (r *rig) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (r *rig) state(spec *task.Spec) *task.State {
	s := r.Snapshot(spec.ARN)
	if s == nil {
		r.t.Fatalf("task %s is not known", spec.ARN)
	}
	return &s.State
}

func (r *rig) want(spec *task.Spec, known task.Status) *task.State {
	st := r.state(spec)
	if st.Known != known {
		r.t.Fatalf("task %s is %v, want %v: %+v", spec.ID(), st.Known, known, st)
	}
	return st
}

// idOf is the Docker id of a container.
func (r *rig) idOf(spec *task.Spec, i int) string { return r.state(spec).Containers[i].RuntimeID }

func arnOf(id string) string { return "arn:aws:ecs:eu-west-1:111122223333:task/demo/" + id }

// specOf makes a task with essential containers.
func specOf(id string, names ...string) *task.Spec {
	s := &task.Spec{ARN: arnOf(id), Family: "web", Version: "1", NetworkMode: "bridge"}
	for _, n := range names {
		s.Containers = append(s.Containers, task.Container{Name: n, Image: n + ":1", Essential: true, CPU: 10, Memory: 10})
	}
	return s
}

func labelled(spec *task.Spec, i int, c runtime.Container) runtime.Container {
	c.Labels = map[string]string{runtime.LabelTaskARN: spec.ARN, runtime.LabelContainerName: spec.Containers[i].Name}
	return c
}

func exitOf(c *task.ContainerState) string {
	if c.ExitCode == nil {
		return "none"
	}
	return fmt.Sprint(*c.ExitCode)
}
