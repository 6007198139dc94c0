package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// relic is a container of a task that this engine does not know.
func relic(id, taskID, name string, status task.ContainerStatus) runtime.Container {
	c := runtime.Container{ID: id, Name: "ecs-web-1-" + name + "-" + id, Image: "sha256:" + name, Status: status, CreatedAt: time.Now().Add(time.Duration(id[0]))}
	c.Labels = map[string]string{
		runtime.LabelTaskARN: arnOf(taskID), runtime.LabelContainerName: name, runtime.LabelCluster: "demo",
		runtime.LabelFamily: "web", runtime.LabelVersion: "1",
	}
	if status == task.ContainerStopped {
		code := 3
		c.ExitCode, c.FinishedAt = &code, time.Now()
	}
	return c
}

func ofDemo(cluster string) bool { return cluster == "demo" }

func TestLostTaskIsRebuilt(t *testing.T) {
	in(t, func(o *Options) { o.Leftovers = Leftovers{Ours: ofDemo, Adopt: true} }, func(r *rig) {
		r.stop()
		r.docker.Put(relic("a", "one", "init", task.ContainerStopped))
		r.docker.Put(relic("b", "one", "app", task.ContainerRunning))
		r.docker.Put(relic("c", "two", "app", task.ContainerStopped))
		r.start()
		one := r.want(specOf("one"), task.Running)
		if spec := r.Snapshot(arnOf("one")).Spec; spec.Family != "web" || len(spec.Containers) != 2 || spec.Containers[0].Essential || !spec.Containers[1].Essential {
			t.Errorf("spec %+v", spec)
		}
		if exitOf(&one.Containers[0]) != "3" || one.Containers[1].RuntimeID != "b" {
			t.Errorf("state %+v", one)
		}
		two := r.want(specOf("two"), task.Stopped)
		if exitOf(&two.Containers[0]) != "3" {
			t.Errorf("state %+v", two)
		}
		// They are tasks like others: durable, stopped when they should be.
		r.stop()
		r.start()
		r.want(specOf("one"), task.Running)
		r.stopTask(specOf("one"))
		r.want(specOf("one"), task.Stopped)
		r.docker.Exit("b", 0)
	})
}

// TestMadeAfterTheCleanUp: where no record was lost, what has no task and never ran was made
// late, for an agent that was killed; it is not run now. What has run is a task's again.
func TestMadeAfterTheCleanUp(t *testing.T) {
	for name, c := range map[string]struct {
		whole bool
		found []task.ContainerStatus
		tasks int
	}{
		"never ran":                    {true, []task.ContainerStatus{task.ContainerCreated, task.ContainerCreated}, 0},
		"one runs":                     {true, []task.ContainerStatus{task.ContainerCreated, task.ContainerRunning}, 1},
		"one ended":                    {true, []task.ContainerStatus{task.ContainerCreated, task.ContainerStopped}, 1},
		"never ran, records were lost": {false, []task.ContainerStatus{task.ContainerCreated}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(o *Options) { o.Leftovers = Leftovers{Ours: ofDemo, Adopt: true, Whole: c.whole} }, func(r *rig) {
				r.stop()
				for i, status := range c.found {
					r.docker.Put(relic(fmt.Sprint("id", i), "one", fmt.Sprint("c", i), status))
				}
				r.start()
				if n := len(r.Snapshots()); n != c.tasks {
					t.Errorf("%d tasks, want %d", n, c.tasks)
				}
				if left := r.docker.Containers(); c.tasks == 0 && (len(left) > 0 || r.docker.Count(enginetest.Start) > 0) {
					t.Errorf("left: %+v; calls %q", left, r.docker.Calls())
				}
				r.docker.Exit("id0", 0)
				r.docker.Exit("id1", 0)
			})
		})
	}
}

func TestRebuiltTaskWaitsForTheDisk(t *testing.T) {
	in(t, func(o *Options) { o.Leftovers = Leftovers{Ours: ofDemo, Adopt: true} }, func(r *rig) {
		other := specOf("other", "app")
		r.run(other)
		r.stop()
		r.docker.Put(relic("b", "one", "app", task.ContainerRunning))
		r.store.Fail(errors.New("full"))
		r.start()
		r.want(other, task.Running)
		if r.Snapshot(arnOf("one")) != nil || len(r.docker.Containers()) != 2 {
			t.Error("a task that could not be saved is known, or its container was removed")
		}
		r.store.Fail(nil)
		r.pass(6 * time.Minute)
		r.want(specOf("one"), task.Running)
	})
}

func TestContainersOfAFormerInstanceAreRemoved(t *testing.T) {
	removed := 0
	in(t, func(o *Options) { o.Leftovers = Leftovers{Ours: ofDemo, Removed: func() { removed++ }} }, func(r *rig) {
		r.stop()
		removed = 0
		r.docker.Put(relic("a", "one", "app", task.ContainerRunning))
		r.docker.Put(relic("b", "two", "app", task.ContainerStopped))
		foreign := relic("c", "three", "app", task.ContainerRunning)
		foreign.Labels[runtime.LabelCluster] = "other"
		r.docker.Put(foreign)
		r.start()
		if c := r.docker.Containers(); len(c) != 1 || c[0].ID != "c" || removed != 1 {
			t.Errorf("containers %+v, told %d times", c, removed)
		}
		if len(r.Snapshots()) != 0 || len(r.report.Seen(arnOf("one"))) != 0 {
			t.Error("a task of the former instance is known")
		}
		r.docker.Exit("c", 0)
	})
}

// TestHelpersOfTheOfficialAgent: they are neither tasks of ECS nor in the way.
func TestHelpersOfTheOfficialAgent(t *testing.T) {
	for _, adopt := range []bool{true, false} {
		in(t, func(o *Options) { o.Leftovers = Leftovers{Ours: ofDemo, Adopt: adopt} }, func(r *rig) {
			r.stop()
			helper := relic("csi", "x", "ebs-csi-driver", task.ContainerRunning)
			helper.Labels[runtime.LabelTaskARN] = "arn:::::/ebs-csi-driver-1"
			r.docker.Put(helper)
			r.start()
			r.pass(6 * time.Minute)
			if c := r.docker.Containers(); len(c) != 1 || len(r.Snapshots()) != 0 || len(r.report.Seen("arn:::::/ebs-csi-driver-1")) != 0 {
				t.Errorf("containers %+v, tasks %v", c, r.Snapshots())
			}
			r.docker.Exit("csi", 0)
		})
	}
}

// TestContainerThatAppearsLaterIsRemoved: e.g. Docker finished a create long after it
// was given up.
func TestContainerThatAppearsLaterIsRemoved(t *testing.T) {
	in(t, func(o *Options) { o.Leftovers = Leftovers{Ours: ofDemo, Adopt: true} }, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		r.docker.Put(relic("late", "gone", "app", task.ContainerCreated))
		r.pass(6 * time.Minute)
		if c := r.docker.Containers(); len(c) != 1 || r.Snapshot(arnOf("gone")) != nil {
			t.Errorf("containers %+v", c)
		}
		r.want(spec, task.Running)
	})
}

// TestLateContainerIsRemovedWithoutTasks: the last task may be gone by the time that
// Docker is done with what was given up. An agent that had none for long asks nothing.
func TestLateContainerIsRemovedWithoutTasks(t *testing.T) {
	edit := func(o *Options) {
		o.Leftovers = Leftovers{Ours: ofDemo, Adopt: true}
		o.CleanupWait = time.Second
	}
	in(t, edit, func(r *rig) {
		r.pass(time.Hour)
		r.docker.Forget()
		r.pass(time.Hour)
		if calls := r.docker.Calls(); len(calls) > 0 {
			t.Errorf("an agent that never had a task asked Docker %v", calls)
		}
		// Too short to be seen by any look.
		spec := specOf("one", "app")
		r.run(spec)
		r.docker.Exit(r.idOf(spec, 0), 0)
		r.pass(time.Second)
		r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
		r.pass(2 * time.Second)
		if r.Snapshot(spec.ARN) != nil {
			t.Fatal("the task was not cleaned up")
		}
		r.docker.Put(relic("late", "one", "app", task.ContainerCreated))
		r.pass(6 * time.Minute)
		if c := r.docker.Containers(); len(c) != 0 {
			t.Errorf("left: %+v", c)
		}
		r.pass(time.Hour)
		r.docker.Forget()
		r.pass(time.Hour)
		if calls := r.docker.Calls(); len(calls) > 0 {
			t.Errorf("an agent without tasks asked Docker %v", calls)
		}
	})
}
