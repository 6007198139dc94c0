package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/task"
)

func TestDeliverIsDurable(t *testing.T) {
	in(t, nil, func(r *rig) {
		ctx := context.Background()
		disk := errors.New("disk full")
		spec := specOf("one", "app")
		delivery := task.Delivery{Seq: 7, Tasks: []task.Request{{Spec: spec, Desired: task.Running}}}
		r.store.Fail(disk)
		if err := r.Deliver(ctx, delivery); !errors.Is(err, disk) {
			t.Fatalf("error %v", err)
		}
		if r.Snapshot(spec.ARN) != nil || r.SequenceNumber() != 0 || r.docker.Count(enginetest.Create) != 0 {
			t.Error("something happened though nothing was saved")
		}
		r.store.Fail(nil)
		if err := r.Deliver(ctx, delivery); err != nil {
			t.Fatal(err)
		}
		if _, seq := r.store.Load(); seq != 7 || r.SequenceNumber() != 7 {
			t.Errorf("sequence number %d on disk, %d known", seq, r.SequenceNumber())
		}
		synctest.Wait()
		r.want(spec, task.Running)

		// The desired status of a known task is durable too when Deliver returns.
		r.store.Slow(time.Second)
		r.docker.Program("app", enginetest.Program{Deaf: true})
		if err := r.Deliver(ctx, task.Delivery{Tasks: []task.Request{{Spec: spec, Desired: task.Stopped}}}); err != nil {
			t.Fatal(err)
		}
		if saved, _ := r.store.State(spec.ARN); saved.Desired != task.Stopped {
			t.Errorf("saved %v", saved.Desired)
		}
		// And an older sequence number changes nothing.
		if err := r.Deliver(ctx, task.Delivery{Seq: 3}); err != nil || r.SequenceNumber() != 7 {
			t.Errorf("sequence number %d, error %v", r.SequenceNumber(), err)
		}
		if err := r.Advance(9); err != nil || r.SequenceNumber() != 9 {
			t.Errorf("sequence number %d, error %v", r.SequenceNumber(), err)
		}
		// Do not wait for the deaf program.
		r.docker.Exit(r.idOf(spec, 0), 0)
	})
}

func TestDeliverNeverWaitsForDocker(t *testing.T) {
	in(t, nil, func(r *rig) {
		block := make(chan struct{})
		defer close(block)
		for _, op := range []enginetest.Op{enginetest.Create, enginetest.Stop, enginetest.List, enginetest.Inspect} {
			r.docker.Disturb(op, "", enginetest.Knob{Block: block})
		}
		start := time.Now()
		spec := specOf("one", "app")
		r.run(spec)
		r.stopTask(spec)
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

// TestKnownTask: only the desired status of a repeated task counts, and a broken
// copy changes nothing (docs/spec/01 section 6, numbers 42 and 43).
func TestKnownTask(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		id := r.idOf(spec, 0)
		r.run(specOf("one", "other"))
		err := r.Deliver(context.Background(), task.Delivery{Rejected: []task.Rejection{{ARN: spec.ARN, Reason: "bad copy"}}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		st := r.want(spec, task.Running)
		if st.Containers[0].RuntimeID != id || r.docker.Count(enginetest.Create) != 1 {
			t.Errorf("state %+v", st)
		}
		if saved, _ := r.store.State(spec.ARN); saved.Known != task.Running {
			t.Errorf("saved %v", saved.Known)
		}
	})
}

func TestRejected(t *testing.T) {
	in(t, nil, func(r *rig) {
		cycle := specOf("cycle", "a")
		cycle.Containers[0].DependsOn = []task.Dependency{{Container: "a", Condition: task.DependsStart}}
		err := r.Deliver(context.Background(), task.Delivery{
			Tasks:    []task.Request{{Spec: cycle, Desired: task.Running}, {Spec: specOf("good", "app"), Desired: task.Running}},
			Rejected: []task.Rejection{{ARN: arnOf("broken"), Reason: "UnrecogniedTaskError: Error loading task - x"}, {ARN: ""}},
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for arn, reason := range map[string]string{
			cycle.ARN:       "Task dependencies cannot be resolved, taskArn: " + cycle.ARN,
			arnOf("broken"): "UnrecogniedTaskError: Error loading task - x",
		} {
			seen := r.report.Seen(arn)
			if len(seen) == 0 {
				t.Fatalf("%s was not reported", arn)
			}
			last := seen[len(seen)-1]
			if last.State.Known != task.Stopped || last.State.TerminalReason != reason || !last.State.Rejected() {
				t.Errorf("%s reported as %+v", arn, last.State)
			}
		}
		r.want(specOf("good", "app"), task.Running)
		if n := r.docker.Count(enginetest.Create); n != 1 {
			t.Errorf("%d creates", n)
		}
		// Once ECS knows, they are forgotten.
		r.Sent(cycle.ARN, task.Sent{Task: task.Stopped})
		r.pass(11 * time.Minute)
		if r.Snapshot(cycle.ARN) != nil || r.Snapshot(arnOf("broken")) == nil {
			t.Error("the one that ECS accepted should be gone, and only that")
		}
	})
}

func TestStopOfAnUnknownTask(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		spec.Containers[0].Links = []string{"nobody"} // does not matter any more
		r.stopTask(spec)
		st := r.want(spec, task.Stopped)
		if st.Containers[0].Known != task.ContainerStopped || st.TerminalReason != "" || st.ExecutionStoppedAt.IsZero() {
			t.Errorf("state %+v", st)
		}
		// The payload that would have started it comes late.
		r.run(spec)
		r.want(spec, task.Stopped)
		if diff := len(r.docker.Calls()); diff != 1 { // the list at the start
			t.Errorf("calls %v", r.docker.Calls())
		}
	})
}

func TestStopTasks(t *testing.T) {
	in(t, nil, func(r *rig) {
		one, two := specOf("one", "app"), specOf("two", "app")
		r.run(one)
		r.run(two)
		if err := r.StopTasks(context.Background(), []string{one.ARN, arnOf("nobody")}); err != nil {
			t.Fatal(err)
		}
		if saved, _ := r.store.State(one.ARN); saved.Desired != task.Stopped {
			t.Errorf("saved %v", saved.Desired)
		}
		synctest.Wait()
		r.want(one, task.Stopped)
		r.want(two, task.Running)
	})
}

func TestDeliverAfterTheEnd(t *testing.T) {
	in(t, nil, func(r *rig) {
		r.stop()
		err := r.Deliver(context.Background(), task.Delivery{Tasks: []task.Request{{Spec: specOf("one", "app"), Desired: task.Running}}})
		if !errors.Is(err, errStopped) {
			t.Errorf("error %v", err)
		}
		r.start()
	})
}

// TestUnsupported: each need that cannot be met is refused, by name.
func TestUnsupported(t *testing.T) {
	edits := []func(*task.Spec){
		func(s *task.Spec) { s.Volumes = []task.Volume{{Name: "v", Type: task.VolumeFSx}} },
		func(s *task.Spec) { s.Associations = []task.Association{{Type: "elastic-inference"}} },
		func(s *task.Spec) { s.Containers[0].CredentialSpecs = []string{"x"} },
	}
	if len(edits) != len(needs) {
		t.Fatalf("%d rows, %d cases", len(needs), len(edits))
	}
	for i, edit := range edits {
		spec := specOf("one", "app")
		edit(spec)
		if got := unsupported(spec, nil); got != needs[i].text {
			t.Errorf("got %q, want %q", got, needs[i].text)
		}
	}
	if got := unsupported(specOf("one", "app"), nil); got != "" {
		t.Errorf("a plain task is refused: %q", got)
	}
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		spec.NetworkMode = "awsvpc"
		r.run(spec)
		want := "resource cannot be initialized for task " + spec.ARN + ": network mode awsvpc is not supported by this agent"
		if st := r.want(spec, task.Stopped); st.TerminalReason != want || !st.Rejected() {
			t.Errorf("state %+v", st)
		}
	})
}
