package engine

import (
	"testing"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/task"
)

// Reasons that no recipe of a real engine brings about (docs/spec/02 section 6.2). The
// others are in tests/taskengine.

func TestVolumeFailureWithoutWords(t *testing.T) {
	in(t, nil, func(r *rig) {
		r.docker.Disturb(enginetest.CreateVolume, "", enginetest.Knob{Err: &task.Error{}})
		spec := specOf("one", "app")
		spec.Volumes = []task.Volume{{Name: "v", Type: task.VolumeDocker, Docker: &task.DockerVolume{Scope: "task", Driver: "local"}}}
		r.run(spec)
		if st := r.want(spec, task.Stopped); st.TerminalReason != "VolumeError: Agent could not create task's volume resources" {
			t.Errorf("reason %q", st.TerminalReason)
		}
	})
}

func TestNoTaskNetwork(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app", "pause")
		spec.Containers[1].Type = task.CNIPause
		r.run(spec)
		st := r.want(spec, task.Stopped)
		if err := st.Containers[1].Error; err == nil || err.Error() != "ContainerNetworkingError: container resource provisioning: task networking is switched off on this container instance" {
			t.Errorf("error %v", err)
		}
	})
}
