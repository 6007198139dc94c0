package harness

import (
	"context"

	"github.com/containerd/errdefs"
	docker "github.com/docker/docker/client"
)

// AwaitTermHandler waits until a container's process has said what it does with SIGTERM,
// or has ended. The kernel drops that signal for a first process that has not; a stop in
// the first moments of a container would wait for its time-out.
func AwaitTermHandler(ctx context.Context, cli *docker.Client, id string) error {
	return Poll(ctx, "a handler of SIGTERM in container "+id, func(ctx context.Context) (bool, error) {
		info, err := cli.ContainerInspect(ctx, id)
		if errdefs.IsNotFound(err) || err == nil && !info.State.Running {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		return HeedsTerm(info.State.Pid)
	})
}
