package e2e

import (
	"context"
	"fmt"
	"time"

	"ecsagent/tests/harness"
)

// eventually polls a question of the engine or the files and fails the test when
// the answer stays no for d.
func (e *env) eventually(d time.Duration, what string, ok func() (bool, error)) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, d)
	defer cancel()
	err := harness.Poll(ctx, what, func(context.Context) (bool, error) {
		yes, err := ok()
		if err != nil {
			return false, err
		}
		if !yes {
			return false, fmt.Errorf("not yet: %s", what)
		}
		return true, nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
}

// minds waits until a container's process has said what it does with SIGTERM.
func minds(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_ = harness.Poll(ctx, "a handler", func(ctx context.Context) (bool, error) { // some containers never have one
		info, err := shared.docker.ContainerInspect(ctx, id)
		if err != nil || !info.State.Running {
			return true, err
		}
		return harness.HeedsTerm(info.State.Pid)
	})
}
