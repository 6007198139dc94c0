package task

import (
	"testing"
	"time"
)

// TestRestoreLooksForContainers: Docker may have been asked for a container that has a name,
// by a process that was killed before it wrote that down; clean-up looks for it.
func TestRestoreLooksForContainers(t *testing.T) {
	spec := &Spec{ARN: "t", Containers: []Container{{Name: "named", Image: "i"}, {Name: "made", Image: "i"}, {Name: "new", Image: "i"}}}
	saved := NewState(spec, Running, time.Now())
	saved.Containers[0].DockerName = "ecs-named"
	saved.Containers[1].DockerName, saved.Containers[1].RuntimeID, saved.Containers[1].Known = "ecs-made", "id", ContainerCreated
	st := RestoreState(spec, saved, time.Now())
	for i, want := range []bool{true, false, false} {
		if got := st.Containers[i].CreateTried; got != want {
			t.Errorf("%s: %v, want %v", spec.Containers[i].Name, got, want)
		}
	}
	if saved.Containers[0].CreateTried {
		t.Error("the saved state was changed")
	}
}
