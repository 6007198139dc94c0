package harness

import (
	"context"
	"time"

	docker "github.com/docker/docker/client"
)

// AwaitTermHandler waits until a container's process has said what it does with SIGTERM.
// The kernel drops that signal for a first process that has not; a stop in the first
// moments of a container would wait for its time-out. Some never do: it gives up after
// three seconds.
func AwaitTermHandler(ctx context.Context, cli *docker.Client, id string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_ = Poll(ctx, "a handler", func(ctx context.Context) (bool, error) {
		info, err := cli.ContainerInspect(ctx, id)
		if err != nil || !info.State.Running {
			return true, err
		}
		return HeedsTerm(info.State.Pid)
	})
}
