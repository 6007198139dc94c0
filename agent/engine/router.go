package engine

import (
	"context"
	"fmt"
	"time"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/dockerspec"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// How long a FireLens container that runs may be without an address (docs/spec/02
// section 2.14).
const addressLimit = time.Minute

func addressBackoff() awsenv.Backoff {
	return awsenv.Backoff{Min: time.Second, Max: 10 * time.Second, Multiplier: 2, Jitter: 0.2}
}

// awaitAddress waits until a FireLens container in mode bridge has the address that the
// containers which log to it are told, and looks at it anew until then.
func (w *stepWork) awaitAddress(ctx context.Context, seen *runtime.Container) error {
	c := w.container()
	if c.FireLens == nil || w.snap.NetworkMode != "bridge" {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, addressLimit)
	defer cancel()
	for wait := addressBackoff(); ; {
		sight := sightOf(seen)
		if sight.Status == task.ContainerStopped || dockerspec.BridgeAddress(sight.Networks) != "" {
			return nil
		}
		if awsenv.Sleep(waiting, wait.Next()) != nil {
			return fmt.Errorf("FireLens container %s has no address in Docker's network bridge after %v", c.Name, addressLimit)
		}
		again, err := w.e.opt.Runtime.Inspect(ctx, seen.ID)
		if err != nil {
			return fmt.Errorf("look for the address of FireLens container %s: %w", c.Name, err)
		}
		*seen = again
	}
}
