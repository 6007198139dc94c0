package docker

import (
	"context"
	"errors"
	"strings"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"

	"ecsagent/agent/runtime"
)

// CreateVolume makes a volume. Docker answers a second request for the same name
// with the volume that exists.
func (c *Client) CreateVolume(ctx context.Context, req runtime.VolumeRequest) (runtime.Volume, error) {
	op := operation{name: "CannotCreateVolumeError", label: "creating volume", limit: c.limits.Volume}
	return call(ctx, op, func(ctx context.Context) (runtime.Volume, error) {
		v, err := c.api().VolumeCreate(ctx, volume.CreateOptions{
			Name: req.Name, Driver: req.Driver, DriverOpts: req.DriverOpts, Labels: req.Labels,
		})
		return fromVolume(v), err
	})
}

// InspectVolume shows a volume; one that does not exist is a failure of kind
// runtime.ErrNotFound.
func (c *Client) InspectVolume(ctx context.Context, name string) (runtime.Volume, error) {
	op := operation{name: "CannotInspectVolumeError", label: "inspecting volume", limit: c.limits.Volume}
	if err := checkVolumeName(op, name); err != nil {
		return runtime.Volume{}, err
	}
	return call(ctx, op, func(ctx context.Context) (runtime.Volume, error) {
		v, err := c.api().VolumeInspect(ctx, name)
		return fromVolume(v), err
	})
}

// RemoveVolume removes a volume. One that does not exist is no failure; one that
// is in use is a failure of kind runtime.ErrConflict.
func (c *Client) RemoveVolume(ctx context.Context, name string) error {
	op := operation{name: "CannotRemoveVolumeError", label: "removing volume", limit: c.limits.Volume}
	if err := checkVolumeName(op, name); err != nil {
		return err
	}
	err := run(ctx, op, func(ctx context.Context) error { return c.api().VolumeRemove(ctx, name, false) })
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	return err
}

// VolumePlugins lists the enabled plugins that are volume drivers, with their tags.
func (c *Client) VolumePlugins(ctx context.Context) ([]string, error) {
	op := operation{name: "CannotListPluginsError", label: "listing plugins", limit: c.limits.Plugins}
	return call(ctx, op, func(ctx context.Context) ([]string, error) {
		plugins, err := c.api().PluginList(ctx, filters.NewArgs(
			filters.Arg("enabled", "true"), filters.Arg("capability", "volumedriver")))
		if err != nil {
			return nil, err
		}
		var names []string
		for _, p := range plugins {
			if p != nil {
				names = append(names, p.Name)
			}
		}
		return names, nil
	})
}

// checkVolumeName refuses names that would change the path of a request.
func checkVolumeName(op operation, name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\") {
		return op.refuse("invalid volume name %q", name)
	}
	return nil
}

func fromVolume(v volume.Volume) runtime.Volume {
	return runtime.Volume{Name: v.Name, Driver: v.Driver, DriverOpts: v.Options, Labels: v.Labels, Mountpoint: v.Mountpoint}
}
