package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/task"
)

// TestStopAll: tasks stop in the order of their containers, ECS is told why, and no work
// is taken any more.
func TestStopAll(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec, other := specOf("one", "db", "app"), specOf("two", "app")
		spec.Containers[1].DependsOn = []task.Dependency{{Container: "db", Condition: task.DependsStart}}
		r.run(spec)
		r.run(other)
		ended := make(chan error, 1)
		go func() { ended <- r.StopAll(context.Background()) }()
		synctest.Wait()
		for _, s := range []*task.Spec{spec, other} {
			if st := r.want(s, task.Stopped); st.TerminalReason != hostStops {
				t.Errorf("reason %q", st.TerminalReason)
			}
			select {
			case err := <-ended:
				t.Fatalf("ended before ECS knew: %v", err)
			default:
			}
			r.Sent(s.ARN, task.Sent{Task: task.Stopped})
			synctest.Wait()
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		calls := r.docker.Calls()
		if app, db := slices.Index(calls, "stop app"), slices.Index(calls, "stop db"); app < 0 || db < app {
			t.Errorf("calls %v", calls)
		}
		err := r.Deliver(context.Background(), task.Delivery{Tasks: []task.Request{{Spec: specOf("late", "app"), Desired: task.Running}}})
		if !errors.Is(err, errHostStops) || r.Snapshot(arnOf("late")) != nil {
			t.Errorf("work was taken: %v", err)
		}
	})
}

// TestStopAllInTime: containers that would take longer get their share of the time.
func TestStopAllInTime(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "a", "b", "c")
		for i := range spec.Containers {
			spec.Containers[i].StopTimeout = 2 * time.Minute
			r.docker.Program(spec.Containers[i].Name, enginetest.Program{Deaf: true})
		}
		spec.Containers[1].DependsOn = []task.Dependency{{Container: "a", Condition: task.DependsStart}}
		spec.Containers[2].DependsOn = []task.Dependency{{Container: "b", Condition: task.DependsStart}}
		r.run(spec)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 32*time.Second)
		defer cancel()
		err := r.StopAll(ctx) // nobody tells ECS
		if err == nil || !strings.Contains(err.Error(), "0 of 1 still run, 1 are stopped and not reported") {
			t.Errorf("error %v", err)
		}
		st := r.want(spec, task.Stopped)
		var took []string
		for i := range st.Containers {
			took = append(took, fmt.Sprint(st.Containers[i].FinishedAt.Sub(begin).Round(time.Second)))
		}
		if want := []string{"30s", "20s", "10s"}; !slices.Equal(took, want) {
			t.Errorf("containers ended after %v, want %v", took, want)
		}
	})
}
