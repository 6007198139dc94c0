package docker

import "context"

// Root returns the directory in which the engine keeps its data.
func (c *Client) Root(ctx context.Context) (root string, err error) {
	op := operation{name: "CannotGetDockerclientError", label: "info", limit: c.limits.Plugins}
	err = run(ctx, op, func(ctx context.Context) error {
		info, err := c.api().Info(ctx)
		root = info.DockerRootDir
		return err
	})
	return root, err
}
