package docker

import "context"

// Info is what the engine says of how it is set up.
type Info struct {
	CgroupDriver string // cgroupfs, systemd or none; empty on Windows
}

// Info asks the engine how it is set up.
func (c *Client) Info(ctx context.Context) (Info, error) {
	op := operation{name: "CannotGetDockerClientVersionError", label: "getting info", limit: c.limits.Info}
	return call(ctx, op, func(ctx context.Context) (Info, error) {
		info, err := c.api().Info(ctx)
		return Info{CgroupDriver: info.CgroupDriver}, err
	})
}
