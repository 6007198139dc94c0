package engine

import (
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// lateNotes are the LateVolumes of a disk.
type lateNotes struct {
	mu   sync.Mutex
	all  map[string]time.Time
	full bool // it takes nothing
}

func (n *lateNotes) LateVolumes() map[string]time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.all)
}

func (n *lateNotes) KeepLateVolume(name string, since time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full {
		return errors.New("no space left on device")
	}
	n.all[name] = since
	return nil
}

func (n *lateNotes) ForgetLateVolume(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.all, name)
	return nil
}

func (n *lateNotes) fill(full bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.full = full
}

// TestLateVolume: a volume that Docker finishes after its task was cleaned up goes, although
// the agent was started anew meanwhile, and although it is in use for a while. The task's
// record stays as long as the volume cannot be remembered.
func TestLateVolume(t *testing.T) {
	for name, change := range map[string]struct {
		down time.Duration // of the agent, after the clean-up
		busy bool
	}{
		"made between two looks": {time.Second, false},
		"made long after":        {24 * time.Hour, false},
		"made and used":          {time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			notes := &lateNotes{all: make(map[string]time.Time), full: true}
			in(t, func(o *Options) { o.LateVolumes = notes }, func(r *rig) {
				r.docker.Disturb(enginetest.CreateVolume, "", enginetest.Knob{Err: errors.New("EOF"), Times: 1})
				spec := specOf("one", "app")
				spec.Volumes = []task.Volume{{Name: "data", Type: task.VolumeDocker, Docker: &task.DockerVolume{Driver: "local"}}}
				spec.Containers[0].MountPoints = []task.MountPoint{{SourceVolume: "data", ContainerPath: "/data"}}
				r.run(spec)
				volume := r.want(spec, task.Stopped).Volumes[0].DockerName
				r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
				r.pass(4 * time.Hour)
				if r.Snapshot(spec.ARN) == nil {
					t.Fatal("the task is forgotten, and its volume is not remembered")
				}
				notes.fill(false)
				for r.Snapshot(spec.ARN) != nil {
					r.pass(time.Second)
				}
				if len(notes.LateVolumes()) != 1 {
					t.Fatalf("remembered: %v", notes.LateVolumes())
				}
				r.stop()
				if _, err := r.docker.CreateVolume(t.Context(), runtime.VolumeRequest{Name: volume}); err != nil {
					t.Fatal(err)
				}
				if change.busy {
					r.docker.Disturb(enginetest.RemoveVolume, "", enginetest.Knob{Err: errors.New("volume is in use")})
				}
				time.Sleep(change.down)
				r.start()
				r.pass(30 * time.Minute)
				if change.busy {
					if len(r.docker.Volumes()) != 1 || len(notes.LateVolumes()) != 1 {
						t.Errorf("gone while it is in use: %v, %v", r.docker.Volumes(), notes.LateVolumes())
					}
					r.docker.Disturb(enginetest.RemoveVolume, "", enginetest.Knob{})
					r.pass(time.Hour)
				}
				if len(r.docker.Volumes()) != 0 || len(notes.LateVolumes()) != 0 {
					t.Errorf("left: %v, remembered %v", r.docker.Volumes(), notes.LateVolumes())
				}
			})
		})
	}
}

// TestLateVolumeOnce: a clean-up that is tried again does not look for a volume more often.
func TestLateVolumeOnce(t *testing.T) {
	in(t, func(o *Options) { o.LateVolumes = &lateNotes{all: make(map[string]time.Time)} }, func(r *rig) {
		for range 3 {
			if err := r.removeLate("ecs-v"); err != nil {
				t.Fatal(err)
			}
		}
		r.pass(time.Hour)
		if n := r.docker.Count(enginetest.RemoveVolume); n != len(lateVolumeLooks) {
			t.Errorf("looked %d times, want %d", n, len(lateVolumeLooks))
		}
	})
}
