package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/task"
)

// cycler runs tasks from delivery to the end of their clean-up.
type cycler struct {
	*enginetest.Store
	*Engine
	docker  *enginetest.Runtime
	running chan struct{}
	gone    sync.WaitGroup
	next    int
}

// Observe implements Reporter: ECS accepts everything at once.
func (c *cycler) Observe(s *task.Snapshot) {
	if s.State.Known == task.Stopped {
		c.Sent(s.ARN, task.Sent{Task: task.Stopped})
	}
	if s.State.Known == task.Running && s.State.Desired == task.Running {
		c.running <- struct{}{}
	}
}

// DeleteTask implements Store.
func (c *cycler) DeleteTask(arn string) error {
	defer c.gone.Done()
	return c.Store.DeleteTask(arn)
}

// cycle starts and stops n tasks, some at once, and waits until nothing is left.
func (c *cycler) cycle(t *testing.T, n int) {
	t.Helper()
	const atOnce = 50
	for range n / atOnce {
		var starts, stops []task.Request
		for range atOnce {
			c.next++
			spec := specOf(fmt.Sprint(c.next), "db", "app")
			spec.PIDMode = "task"
			spec.Containers[1].DependsOn = []task.Dependency{{Container: "db", Condition: task.DependsStart}}
			spec.Containers[1].Ports = []task.PortMapping{{ContainerPort: 80, Protocol: task.TCP}}
			starts = append(starts, task.Request{Spec: spec, Desired: task.Running})
			stops = append(stops, task.Request{Spec: spec, Desired: task.Stopped})
		}
		c.gone.Add(atOnce)
		for _, requests := range [][]task.Request{starts, stops} {
			if err := c.Deliver(t.Context(), task.Delivery{Tasks: requests}); err != nil {
				t.Fatal(err)
			}
			for range atOnce {
				if requests[0].Desired == task.Running {
					<-c.running
				}
			}
		}
		c.gone.Wait()
		c.docker.Forget()
	}
}

// settled is the heap in use, and the goroutines, once nothing moves any more.
func (c *cycler) settled(goroutines int) (heap uint64, running int) {
	// The last ones are on their way out.
	for limit := time.Now().Add(time.Second); ; goruntime.Gosched() {
		if running = goruntime.NumGoroutine(); running <= goroutines || time.Now().After(limit) {
			break
		}
	}
	goruntime.GC()
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return m.HeapAlloc, running
}

// TestMemoryOfManyCycles: what 2,000 tasks used is given back.
func TestMemoryOfManyCycles(t *testing.T) {
	c := &cycler{Store: enginetest.NewStore(), docker: enginetest.New(), running: make(chan struct{}, 100)}
	defer c.docker.Close()
	group, secret := newFakeHook("cgroup"), newFakeHook("secret")
	group.quiet, secret.quiet = true, true
	var err error
	c.Engine, err = New(Options{
		Store: c, Reporter: c, Runtime: c.docker, Images: &enginetest.Images{}, HostPorts: &enginetest.Ports{},
		Builder:  dockerspec.New(dockerspec.Env{OS: "linux", CPUs: 2, Cluster: "demo"}, rand.Uint64),
		Hooks:    []Hook{group, secret},
		Pause:    task.Pause{Image: "pause:1"},
		Capacity: Capacity{CPU: 4096, Memory: 4096}, CleanupWait: time.Millisecond, Log: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	<-c.ready
	base := goruntime.NumGoroutine()
	c.cycle(t, 100)
	early, _ := c.settled(base)
	c.cycle(t, 1900)
	late, running := c.settled(base)
	if running > base {
		t.Errorf("%d goroutines, %d at the start", running, base)
	}
	t.Logf("heap after 100 cycles %d bytes, after 2,000 %d", early, late)
	if late > early+early/10 {
		t.Errorf("heap grew from %d to %d bytes", early, late)
	}
	if n := len(c.Snapshots()) + len(c.docker.Containers()); n != 0 {
		t.Errorf("%d tasks and containers are left", n)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
