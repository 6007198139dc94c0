package docker

import (
	"context"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"ecsagent/agent/runtime"
)

// IdleContainers shows the containers that do not run, whoever made them: those that
// have ended, are half removed, or never started (docs/spec/02 section 5.6).
func (c *Client) IdleContainers(ctx context.Context) ([]runtime.Container, error) {
	op := operation{name: "CannotListContainersError", label: "listing", limit: c.limits.List}
	return call(ctx, op, func(ctx context.Context) ([]runtime.Container, error) {
		all, err := c.api().ContainerList(ctx, container.ListOptions{
			All: true,
			Filters: filters.NewArgs(
				filters.Arg("status", "exited"), filters.Arg("status", "dead"), filters.Arg("status", "created"),
			),
		})
		if err != nil {
			return nil, err
		}
		list := make([]runtime.Container, len(all))
		for i := range all {
			list[i] = fromSummary(&all[i])
		}
		return list, nil
	})
}

// RemoveIdle removes a container with its anonymous volumes. One that runs is a
// failure of kind runtime.ErrConflict.
func (c *Client) RemoveIdle(ctx context.Context, id string) error {
	op := operation{name: "CannotRemoveContainerError", label: "removing", limit: c.limits.Remove}
	return run(ctx, op, func(ctx context.Context) error {
		return c.api().ContainerRemove(ctx, id, container.RemoveOptions{RemoveVolumes: true})
	})
}
