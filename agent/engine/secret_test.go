package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/image"
	"ecsagent/agent/task"
)

// A registry's login that cannot be had stops the task with its own reason, and no
// container is blamed, even where a local image would do (docs/spec/02 section 2.4).
func TestRegistrySecretStopsTheTask(t *testing.T) {
	err := fmt.Errorf("ask: %w", &image.SecretError{Reason: "asm fetching username: AuthorizationData is malformed,  empty field"})
	for name, set := range map[string]func(*enginetest.Images){
		"digest": func(m *enginetest.Images) { m.OnDigest("app:1", enginetest.Answer{Err: err}) },
		"pull":   func(m *enginetest.Images) { m.OnEnsure("app:1", enginetest.Answer{Err: err}) },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(r *rig) {
				set(r.images)
				spec := specOf("one", "app")
				r.run(spec)
				r.pass(time.Second)
				st := r.want(spec, task.Stopped)
				if st.TerminalReason != "Asm fetching username: AuthorizationData is malformed, empty field" {
					t.Errorf("reason %q", st.TerminalReason)
				}
				if c := &st.Containers[0]; c.Error != nil || c.ExitCode != nil || c.RuntimeID != "" {
					t.Errorf("container %+v", c)
				}
			})
		})
	}
	if a := new(answer); a.stops(nil) || a.stops(errors.New("x")) || a.then != nil {
		t.Errorf("%+v", a)
	}
}
