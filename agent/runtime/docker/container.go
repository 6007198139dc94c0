package docker

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"go.uber.org/zap"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Create makes a container and returns its id. It is safe to repeat: when a
// container of that name with the same task and container labels exists, its id
// is returned, and when Docker is still in the middle of creating it, for an agent that
// was killed meanwhile, it is waited for.
func (c *Client) Create(ctx context.Context, req runtime.CreateRequest) (string, error) {
	op := operation{name: "CannotCreateContainerError", label: "created", limit: c.limits.Create}
	if req.Config == nil || req.HostConfig == nil || req.Name == "" {
		return "", op.refuse("incomplete request for container %q", req.Name)
	}
	return call(ctx, op, func(ctx context.Context) (string, error) {
		// The library writes to what it is given.
		config, host := *req.Config, *req.HostConfig
		pause := createPauseMin
		for begin := time.Now(); ; pause = min(2*pause, createPauseMax) {
			created, err := c.api().ContainerCreate(ctx, &config, &host, &network.NetworkingConfig{}, nil, req.Name)
			if err == nil {
				for _, w := range created.Warnings {
					c.log.Debug("docker warns", zap.String("container", req.Name), zap.String("warning", w))
				}
				return created.ID, nil
			}
			if !errors.Is(op.kindOf(err), runtime.ErrConflict) {
				return "", err
			}
			existing, inspectErr := c.api().ContainerInspect(ctx, req.Name)
			switch {
			case errors.Is(op.kindOf(inspectErr), runtime.ErrNotFound) && time.Since(begin) < createWait:
				// The name is taken and nobody has it yet.
			case inspectErr != nil || existing.ContainerJSONBase == nil || existing.Config == nil ||
				!sameContainer(existing.Config.Labels, config.Labels):
				return "", err
			default:
				return existing.ID, nil
			}
			timer := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				timer.Stop()
				return "", err
			case <-timer.C:
			}
		}
	})
}

// How long a create that an earlier agent asked for is waited for, and the pauses
// between the looks at it.
const (
	createWait     = time.Minute
	createPauseMin = 20 * time.Millisecond
	createPauseMax = time.Second
)

// sameContainer reports whether two sets of labels name the same container of the
// same task.
func sameContainer(a, b map[string]string) bool {
	for _, label := range []string{runtime.LabelTaskARN, runtime.LabelContainerName} {
		if a[label] == "" || a[label] != b[label] {
			return false
		}
	}
	return true
}

// Start starts a container; one that runs already is left alone.
func (c *Client) Start(ctx context.Context, id string) error {
	op := operation{name: nameCannotStart, label: "started", limit: c.limits.Start}
	return run(ctx, op, func(ctx context.Context) error {
		return c.api().ContainerStart(ctx, id, container.StartOptions{})
	})
}

// Stop sends the container its stop signal, waits for timeout (rounded up to whole
// seconds) and kills it. A container that does not run is left alone; one that does
// not exist is a failure of kind runtime.ErrNotFound.
func (c *Client) Stop(ctx context.Context, id string, timeout time.Duration) error {
	seconds := int((max(timeout, 0) + time.Second - 1) / time.Second)
	op := operation{
		name: "CannotStopContainerError", label: "stopped",
		limit: time.Duration(seconds)*time.Second + c.limits.StopGrace,
	}
	err := run(ctx, op, func(ctx context.Context) error {
		return c.api().ContainerStop(ctx, id, container.StopOptions{Timeout: &seconds})
	})
	if errors.Is(err, runtime.ErrNotFound) {
		return &runtime.Failure{
			Reason: task.Error{Name: nameNoSuchContainer, Message: "Container not found: " + id},
			Kind:   runtime.ErrNotFound,
			Cause:  err,
		}
	}
	return err
}

// Kill ends a container with SIGKILL. One that does not run is left alone; one that does
// not exist is a failure of kind runtime.ErrNotFound.
func (c *Client) Kill(ctx context.Context, id string) error {
	op := operation{name: "CannotStopContainerError", label: "stopped", limit: c.limits.Kill}
	err := run(ctx, op, func(ctx context.Context) error { return c.api().ContainerKill(ctx, id, "KILL") })
	if errors.Is(err, runtime.ErrConflict) {
		return nil // it does not run
	}
	return err
}

// Remove removes a container, even one that still runs, and its anonymous volumes.
// A container that does not exist is no failure.
func (c *Client) Remove(ctx context.Context, id string) error {
	op := operation{name: "CannotRemoveContainerError", label: "removing", limit: c.limits.Remove}
	err := run(ctx, op, func(ctx context.Context) error {
		return c.api().ContainerRemove(ctx, id, container.RemoveOptions{RemoveVolumes: true, Force: true})
	})
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	return err
}

// Inspect shows a container by id or name.
func (c *Client) Inspect(ctx context.Context, idOrName string) (runtime.Container, error) {
	op := operation{name: "CannotInspectContainerError", label: "inspecting", limit: c.limits.Inspect}
	return call(ctx, op, func(ctx context.Context) (runtime.Container, error) {
		seen, err := c.api().ContainerInspect(ctx, idOrName)
		if err != nil {
			return runtime.Container{}, err
		}
		if seen.ContainerJSONBase == nil || seen.State == nil {
			return runtime.Container{}, errors.New("incomplete answer from docker for container " + idOrName)
		}
		return fromInspect(&seen), nil
	})
}

// List shows every container of a task, stopped ones too. What a list does not
// tell stays zero: exit code, times of start and finish, errors, health output.
func (c *Client) List(ctx context.Context) ([]runtime.Container, error) {
	op := operation{name: "CannotListContainersError", label: "listing", limit: c.limits.List}
	return call(ctx, op, func(ctx context.Context) ([]runtime.Container, error) {
		all, err := c.api().ContainerList(ctx, container.ListOptions{
			All:     true,
			Filters: filters.NewArgs(filters.Arg("label", runtime.LabelTaskARN)),
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

// containerName is a name of Docker's without the leading slash.
func containerName(name string) string { return strings.TrimPrefix(name, "/") }
