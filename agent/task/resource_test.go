package task

import (
	"testing"
	"time"
)

// A step that was under way when a container's resource failed, and that succeeds after
// that, does not take the container's reason away.
func TestLaterSuccessKeepsTheReason(t *testing.T) {
	for _, kind := range []StepKind{StepPull, StepStart} {
		spec := &Spec{
			ARN: "arn:one", Containers: []Container{{Name: "app", Image: "app:1"}},
			Resources: []Resource{{Name: "secret", Before: ContainerCreated, Blames: true}},
		}
		st := &State{
			Desired: Running, Resources: []ResourceState{{Applied: true}},
			Containers: []ContainerState{{Desired: ContainerRunning, Known: ContainerManifestPulled, Applied: kind.Target()}},
		}
		now := time.Unix(1e9, 0)
		want := &Error{Name: "ResourceInitializationError", Message: "no such key"}
		Apply(spec, st, Done{Step: Step{Kind: StepResource, Container: -1}, Err: want}, now, Rules{})
		Apply(spec, st, Done{Step: Step{Kind: kind}}, now, Rules{})
		if got := st.Containers[0].Error; got != want {
			t.Errorf("%v: the reason is %v, want %v", kind, got, want)
		}
	}
}
