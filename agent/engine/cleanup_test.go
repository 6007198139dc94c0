package engine

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// TestCleanup: A22 of docs/spec/02 chapter 13.
func TestCleanup(t *testing.T) {
	in(t, func(o *Options) {
		o.CleanupWait = time.Hour
		o.CleanupJitter = time.Hour
		o.Random = func() float64 { return 0.5 }
	}, func(r *rig) {
		spec := specOf("one", "app", "side")
		r.run(spec)
		r.stopTask(spec)
		r.Sent(spec.ARN, task.Sent{Task: task.Running})
		r.pass(24 * time.Hour)
		if len(r.docker.Containers()) != 2 || r.Snapshot(spec.ARN) == nil {
			t.Fatal("cleaned up before ECS knew")
		}
		r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
		synctest.Wait()
		if len(r.docker.Containers()) != 0 || r.Snapshot(spec.ARN) != nil {
			t.Error("not cleaned up")
		}
		if records, _ := r.store.Load(); len(records) != 0 {
			t.Errorf("records %v", records)
		}
	})
	in(t, func(o *Options) {
		o.CleanupWait = time.Hour
		o.CleanupJitter = time.Hour
		o.Random = func() float64 { return 0.5 }
	}, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		r.stopTask(spec)
		r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
		r.pass(89 * time.Minute)
		if len(r.docker.Containers()) != 1 {
			t.Error("too early")
		}
		r.pass(time.Minute)
		if len(r.docker.Containers()) != 0 {
			t.Error("too late")
		}
	})
}

// TestCleanupInsists: a container that cannot be removed is tried again until it is
// gone (chapter 14, numbers 26 and 27).
func TestCleanupInsists(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.docker.Disturb(enginetest.Remove, "", enginetest.Knob{Err: errors.New("device or resource busy")})
		r.run(spec)
		r.stopTask(spec)
		r.pass(time.Minute)
		r.want(spec, task.Stopped)
		r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
		r.pass(4 * time.Hour)
		if len(r.docker.Containers()) != 1 {
			t.Fatal("gone though it cannot be removed")
		}
		r.docker.Disturb(enginetest.Remove, "", enginetest.Knob{})
		r.pass(2 * time.Hour)
		if len(r.docker.Containers()) != 0 || r.Snapshot(spec.ARN) != nil {
			t.Error("not cleaned up")
		}
	})
}

// TestCleanupFindsByName: a container whose create was never answered is removed.
func TestCleanupFindsByName(t *testing.T) {
	in(t, nil, func(r *rig) {
		late := &runtime.Failure{Reason: task.Error{Name: "DockerTimeoutError", Message: "x"}, Kind: runtime.ErrTimeout}
		r.docker.Disturb(enginetest.Create, "", enginetest.Knob{After: late})
		spec := specOf("one", "app")
		r.run(spec)
		st := r.want(spec, task.Stopped)
		if st.Containers[0].Error.Name != "DockerTimeoutError" || len(r.docker.Containers()) != 1 {
			t.Fatalf("state %+v", st)
		}
		r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
		r.pass(4 * time.Hour)
		if len(r.docker.Containers()) != 0 {
			t.Error("left behind")
		}
	})
}

// TestCleanupFindsVolumesWhoseAnswerWasLost: Docker made the volume, and nobody was told.
func TestCleanupFindsVolumesWhoseAnswerWasLost(t *testing.T) {
	in(t, nil, func(r *rig) {
		r.docker.Disturb(enginetest.CreateVolume, "", enginetest.Knob{After: errors.New("EOF"), Times: 1})
		spec := specOf("one", "app")
		spec.Volumes = []task.Volume{{Name: "data", Type: task.VolumeDocker, Docker: &task.DockerVolume{Driver: "local"}}}
		spec.Containers[0].MountPoints = []task.MountPoint{{SourceVolume: "data", ContainerPath: "/data"}}
		r.run(spec)
		r.want(spec, task.Stopped)
		if n := len(r.docker.Volumes()); n != 1 {
			t.Fatalf("%d volumes, want the one that was made", n)
		}
		r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
		r.pass(4 * time.Hour)
		if left := r.docker.Volumes(); len(left) > 0 || r.Snapshot(spec.ARN) != nil {
			t.Errorf("left: %v", left)
		}
	})
}
