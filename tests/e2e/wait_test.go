package e2e

import (
	"context"
	"fmt"
	"time"

	"ecsagent/tests/harness"
)

// patience is the least time that anything gets to happen: the machine may be busy.
const patience = time.Minute

// eventually polls a question of the engine or the files and fails the test when
// the answer stays no for d, and for as long as a busy machine may take.
func (e *env) eventually(d time.Duration, what string, ok func() (bool, error)) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, max(d, patience))
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

// minds waits until a container's process heeds SIGTERM. Some never do: it gives up after
// ten seconds.
func minds(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = harness.AwaitTermHandler(ctx, shared.docker, id)
}
