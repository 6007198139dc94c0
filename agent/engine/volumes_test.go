package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// efsTask mounts a file system into its first container.
func efsTask(spec *task.Spec) *task.Spec {
	spec.Volumes = []task.Volume{{Name: "v", Type: task.VolumeEFS, EFS: &task.EFSVolume{FileSystemID: "fs-1", TransitEncryption: "ENABLED"}}}
	spec.Containers[0].MountPoints = []task.MountPoint{{SourceVolume: "v", ContainerPath: "/v"}}
	return spec
}

func withPlugin(o *Options) {
	o.Builder = dockerspec.New(dockerspec.Env{OS: "linux", CPUs: 2, Cluster: "demo", EFS: dockerspec.EFS{Plugin: true}}, rand.Uint64)
}

// A file system is mounted in the network of its task, which is there before.
func TestFileSystemInTaskNetwork(t *testing.T) {
	withNetwork(t, &networks{}, withPlugin, func(r *rig, spec *task.Spec) {
		r.run(efsTask(spec))
		st := r.want(spec, task.Running)
		v, err := r.docker.InspectVolume(t.Context(), st.Volumes[0].DockerName)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("tls,netns=/proc/%d/ns/net", enginetest.Pid); v.Driver != dockerspec.VolumePlugin || v.DriverOpts["o"] != want || v.DriverOpts["device"] != "fs-1" {
			t.Errorf("volume %+v", v)
		}
		calls := r.docker.Calls()
		made := slices.Index(calls, "create volume "+v.Name)
		if made < 0 || made < slices.Index(calls, "start "+task.NetworkPauseName) || made > slices.Index(calls, "create app") {
			t.Errorf("the volume is made at %d of %q", made, calls)
		}
	})
}

// A task whose network is not made is over, and has no volume.
func TestFileSystemWithoutTaskNetwork(t *testing.T) {
	withNetwork(t, &networks{setUp: errors.New("no device")}, withPlugin, func(r *rig, spec *task.Spec) {
		r.run(efsTask(spec))
		r.want(spec, task.Stopped)
		if v := r.docker.Volumes(); len(v) > 0 {
			t.Errorf("volumes %q", v)
		}
	})
}

// What cannot be asked for is the task's reason; what is removed with the task is the
// volume, and never what is in it.
func TestFileSystem(t *testing.T) {
	in(t, withPlugin, func(r *rig) {
		spec := efsTask(specOf("one", "app"))
		r.run(spec)
		r.want(spec, task.Running)
		bad := efsTask(specOf("two", "app"))
		bad.Volumes[0].EFS.IAM = "ENABLED"
		r.run(bad)
		want := "VolumeError: volume v: it is used with the role of the task, and the task has none"
		if st := r.want(bad, task.Stopped); st.TerminalReason != want {
			t.Errorf("reason %q", st.TerminalReason)
		}
		if v := r.docker.Volumes(); len(v) != 1 {
			t.Errorf("volumes %q", v)
		}
	})
}

// A volume that Docker finishes making after its task was cleaned up does not stay.
func TestVolumeMadeLate(t *testing.T) {
	in(t, func(o *Options) { o.CleanupWait = time.Minute }, func(r *rig) {
		r.docker.Disturb(enginetest.CreateVolume, "", enginetest.Knob{Err: &runtime.Failure{
			Reason: task.Error{Name: "DockerTimeoutError", Message: "no answer"}, Kind: runtime.ErrTimeout}})
		spec := specOf("one", "app")
		spec.Volumes = []task.Volume{{Name: "v", Type: task.VolumeDocker, Docker: &task.DockerVolume{Scope: "task", Driver: "slow"}}}
		r.run(spec)
		name := r.want(spec, task.Stopped).Volumes[0].DockerName
		r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
		r.pass(10 * time.Minute)
		if r.Snapshot(spec.ARN) != nil {
			t.Fatal("not cleaned up")
		}
		r.docker.Disturb(enginetest.CreateVolume, "", enginetest.Knob{})
		if _, err := r.docker.CreateVolume(t.Context(), dockerRequest(name)); err != nil {
			t.Fatal(err)
		}
		r.pass(30 * time.Minute)
		if v := r.docker.Volumes(); len(v) != 0 {
			t.Errorf("volumes %q", v)
		}
		calls := len(r.docker.Calls())
		r.pass(24 * time.Hour)
		for _, call := range r.docker.Calls()[calls:] {
			if call == "remove volume "+name {
				t.Error("it is removed for ever")
			}
		}
	})
}

func dockerRequest(name string) runtime.VolumeRequest {
	return runtime.VolumeRequest{Name: name, Driver: "slow"}
}
