package docker

import (
	"context"
	"errors"
)

// Info is what the engine says of how it is set up.
type Info struct {
	CgroupDriver string // cgroupfs, systemd or none; empty on Windows
	DataRoot     string // directory on the engine's host that holds images and containers
}

// Info tells how the engine is set up. It asks once: what it says is settled when the
// engine starts, so it is asked again only after the event stream broke.
func (c *Client) Info(ctx context.Context) (Info, error) {
	s := c.session.Load()
	if known := s.info.Load(); known != nil {
		return *known, nil
	}
	op := operation{name: "CannotGetDockerClientVersionError", label: "getting info", limit: c.limits.Info}
	return call(ctx, op, func(ctx context.Context) (Info, error) {
		said, err := s.api.Info(ctx)
		if err != nil {
			return Info{}, err
		}
		info := Info{CgroupDriver: said.CgroupDriver, DataRoot: said.DockerRootDir}
		s.info.Store(&info)
		return info, nil
	})
}

// DataRoot is the directory on the engine's host that holds images and containers.
func (c *Client) DataRoot(ctx context.Context) (string, error) {
	info, err := c.Info(ctx)
	if err == nil && info.DataRoot == "" {
		err = errors.New("the engine does not tell where it keeps its data")
	}
	return info.DataRoot, err
}
