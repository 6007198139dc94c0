package engine

import (
	"fmt"
	"testing"
	"time"

	"ecsagent/agent/task"
)

// BenchmarkEventBatch1000 is what an event batch costs a host with 1,000 tasks at
// worst: every one of them plans anew, 500 that are under way and 500 that wait, and
// the queue is evaluated. Most batches are of one task.
func BenchmarkEventBatch1000(b *testing.B) {
	const tasks, running = 1000, 500
	now := time.Now()
	in := task.Intake{Pause: task.Pause{Image: "pause:1"}}
	a := newAdmission(Capacity{CPU: running * 30, Memory: running * 30}, time.Hour)
	a.start(now)
	specs, states := make([]*task.Spec, tasks), make([]task.State, tasks)
	for i := range specs {
		spec := specOf(fmt.Sprint(i), "db", "app", "side")
		spec.PIDMode = "task"
		spec.Containers[1].DependsOn = []task.Dependency{{Container: "db", Condition: task.DependsHealthy}}
		spec.Containers[0].HealthCheckType = "docker"
		spec.Containers[2].DependsOn = []task.Dependency{{Container: "app", Condition: task.DependsStart}}
		accepted, reason := in.Accept(spec)
		if reason != "" {
			b.Fatal(reason)
		}
		accepted.Resources = []task.Resource{{Kind: "cgroup", Name: "cgroup", Text: "task cgroup", Before: task.ContainerCreated}}
		specs[i], states[i] = accepted, task.NewState(accepted, task.Running, now)
		if i < running {
			states[i].Resources[0].Created = true
			for c, known := range []task.ContainerStatus{task.ContainerRunning, task.ContainerPulled, task.ContainerPulled, task.ContainerRunning} {
				states[i].Containers[c].Known = known
			}
		}
		a.enqueue(accepted.ARN, demandOf(accepted), now.Add(time.Duration(i)))
	}
	if n := len(a.evaluate(now)); n != running {
		b.Fatalf("%d tasks fit, want %d", n, running)
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range specs {
			if moves := task.Settle(specs[i], &states[i], now, task.Rules{Admitted: i < running}); len(moves.Waits) == 0 {
				b.Fatalf("task %d does not wait: %+v", i, moves)
			}
		}
		a.evaluate(now)
	}
}
