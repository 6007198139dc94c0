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
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/task"
)

// TestDiskRefuses: while the disk takes nothing, tasks go on and ECS hears of nothing
// that a crash would undo; afterwards it hears of everything, in order.
func TestDiskRefuses(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	in(t, func(o *Options) { o.Log = zap.New(core) }, func(r *rig) {
		disk := errors.New("no space left")
		one, two := specOf("one", "app"), specOf("two", "app")
		r.images.OnEnsure("app:1", enginetest.Answer{Delay: time.Second})
		r.run(one)
		r.run(two)
		r.store.Fail(disk)
		r.pass(10 * time.Second)
		for _, spec := range []*task.Spec{one, two} {
			r.want(spec, task.Running)
			if slices.Contains(r.report.Statuses(spec.ARN), task.Running) {
				t.Errorf("%s is reported as running, which is not on disk", spec.ID())
			}
		}
		r.wantWaits(one, "state: the disk to take the state of the task 9", "report: ECS to accept that it is RUNNING 9")
		// A stop is refused, so that ECS repeats it, and done.
		err := r.Deliver(context.Background(), task.Delivery{Tasks: []task.Request{{Spec: two, Desired: task.Stopped}}})
		if !errors.Is(err, disk) {
			t.Errorf("error %v", err)
		}
		r.pass(time.Second)
		r.want(two, task.Stopped)
		r.pass(time.Hour)
		if n := logs.Len(); n != 1 {
			t.Errorf("logged %d times: %v", n, logs.All())
		}

		r.store.Fail(nil)
		r.pass(10 * time.Second)
		if diff := cmp.Diff([]task.Status{task.None, task.Running}, withoutPassing(r.report.Statuses(one.ARN))); diff != "" {
			t.Errorf("reported of the one: %s", diff)
		}
		if diff := cmp.Diff([]task.Status{task.None, task.Running, task.Stopped}, withoutPassing(r.report.Statuses(two.ARN))); diff != "" {
			t.Errorf("reported of the other: %s", diff)
		}
		r.wantWaits(one, "report: ECS to accept that it is RUNNING 3622")
		if all := strings.Join(r.told(one), "\n"); !strings.Contains(all, "save: not saved: no space left\nsave: saved again") {
			t.Error(all)
		}
		r.store.Fail(disk)
		r.docker.Exit(r.idOf(one, 0), 0)
		synctest.Wait()
		if n := logs.Len(); n != 2 {
			t.Errorf("the second time was logged as often: %d", n)
		}
		r.store.Fail(nil)
		r.pass(time.Minute)
	})
}

// TestDeleteIsRepeated: a record that cannot be deleted is not forgotten.
func TestDeleteIsRepeated(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		r.stopTask(spec)
		r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
		r.store.Fail(errors.New("no"))
		r.pass(4 * time.Hour)
		if r.Snapshot(spec.ARN) == nil {
			t.Fatal("the task is gone though its record is not")
		}
		r.store.Fail(nil)
		r.pass(10 * time.Second)
		if _, ok := r.store.State(spec.ARN); ok || r.Snapshot(spec.ARN) != nil {
			t.Error("the task is still there")
		}
	})
}

// TestWhatGathersIsBounded: a container that restarts again and again while the disk
// refuses does not fill the memory.
func TestWhatGathersIsBounded(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		spec.Containers[0].Restart = &task.RestartPolicy{Enabled: true}
		r.run(spec)
		r.store.Fail(errors.New("no"))
		for range 100 {
			r.pass(10 * time.Second)
			r.docker.Exit(r.idOf(spec, 0), 1)
			synctest.Wait()
		}
		before := len(r.report.Seen(spec.ARN))
		r.store.Fail(nil)
		r.pass(10 * time.Second)
		seen := r.report.Seen(spec.ARN)
		if n := len(seen) - before; n < 1 || n > 3 {
			t.Errorf("%d snapshots after the disk came back", n)
		}
		if n := seen[len(seen)-1].State.Containers[0].RestartCount; n != 100 {
			t.Errorf("the last tells of %d restarts", n)
		}
	})
}
