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

// How long such a container that runs may be without an address (docs/spec/02
// section 2.14).
const addressLimit = time.Minute

func addressBackoff() awsenv.Backoff {
	return awsenv.Backoff{Min: time.Second, Max: 10 * time.Second, Multiplier: 2, Jitter: 0.2}
}

// awaitAddress waits until a FireLens container in mode bridge has the address that the
// containers which log to it are told, or a pause container the one that leads to a Service
// Connect proxy, and looks at it anew until then.
func (w *stepWork) awaitAddress(ctx context.Context, seen *runtime.Container) error {
	c := w.container()
	bridged := w.snap.ConnectsBridged()
	var what string
	switch {
	case bridged && c.Type == task.CNIPause:
		what = "pause container " + c.Name
	case !bridged && c.FireLens != nil && w.snap.NetworkMode == "bridge":
		what = "FireLens container " + c.Name
	default:
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, addressLimit)
	defer cancel()
	for wait := addressBackoff(); ; {
		sight := sightOf(seen)
		v4, v6 := dockerspec.BridgeAddresses(sight.Networks)
		if sight.Status == task.ContainerStopped || v4 != "" || bridged && v6 != "" {
			return nil
		}
		if awsenv.Sleep(waiting, wait.Next()) != nil {
			return fmt.Errorf("%s has no address in Docker's network bridge after %v", what, addressLimit)
		}
		again, err := w.e.opt.Runtime.Inspect(ctx, seen.ID)
		if err != nil {
			return fmt.Errorf("look for the address of %s: %w", what, err)
		}
		*seen = again
	}
}
