package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// TestEndIsToldBeforeTheStart: at a start the events of the last second are told again.
// The end of a container that was not known to run says too little by itself.
func TestEndIsToldBeforeTheStart(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "init", "app")
		spec.Containers[0].Essential = false
		spec.Containers[1].DependsOn = []task.Dependency{{Container: "init", Condition: task.DependsSuccess}}
		r.docker.Program("init", enginetest.Program{Exits: true, After: time.Minute})
		r.docker.Disturb(enginetest.Start, "init", enginetest.Knob{Delay: time.Second})
		r.run(spec)
		r.pass(500 * time.Millisecond)
		r.kill() // in the middle of the start
		r.docker.Disturb(enginetest.Start, "init", enginetest.Knob{})
		id := r.docker.Containers()[0].ID
		r.docker.Disturb(enginetest.List, "", enginetest.Knob{Delay: time.Second})
		name := r.docker.Containers()[0].Name
		if err := r.docker.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		r.docker.Exit(id, 0)
		r.start()
		zero := 0
		r.dispatch(runtime.Event{
			Type: runtime.EventDie, ID: id, Name: name, ExitCode: &zero, Time: time.Now(),
			Labels: map[string]string{runtime.LabelTaskARN: spec.ARN, runtime.LabelContainerName: "init"},
		})
		r.pass(time.Minute)
		st := r.want(spec, task.Running)
		if init := &st.Containers[0]; exitOf(init) != "0" || init.StartedAt.IsZero() || init.RuntimeID != id {
			t.Errorf("container %+v", init)
		}
	})
}

// TestStartIsToldAfterTheEnd: Docker writes the event of a start when its own part is
// done, which may be after the end of a container that lives for a moment.
func TestStartIsToldAfterTheEnd(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		id := r.idOf(spec, 0)
		r.docker.Exit(id, 3)
		synctest.Wait()
		r.want(spec, task.Stopped)
		r.dispatch(runtime.Event{
			Type: runtime.EventStart, ID: id, Time: time.Now().Add(time.Second),
			Labels: map[string]string{runtime.LabelTaskARN: spec.ARN, runtime.LabelContainerName: "app"},
		})
		synctest.Wait()
		if n := r.docker.Count(enginetest.Stop); n != 0 || r.state(spec).Containers[0].Uncertain {
			t.Errorf("%d stops, container %+v", n, r.state(spec).Containers[0])
		}
	})
}
