package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// volume makes a volume of the task exist (docs/spec/02 section 4.9). The error's
// message is the task's reason.
func (w *stepWork) volume(ctx context.Context) *task.Error {
	space := ""
	if task.VolumeNeedsNetwork(w.snap.Spec, w.step.Volume) {
		var err error
		if space, err = w.networkSpace(ctx); err != nil {
			return &task.Error{Name: "VolumeError", Message: task.ResourceReason(reason(err, "").Message)}
		}
	}
	request, err := w.e.opt.Builder.Volume(w.snap.Spec, w.step.Volume, &w.snap.State, space)
	if err != nil {
		return &task.Error{Name: "VolumeError", Message: task.ResourceReason(reason(err, "").Error())}
	}
	if d := w.snap.Volumes[w.step.Volume].Docker; d != nil && d.Scope == task.VolumeShared {
		return w.sharedVolume(ctx, d, request)
	}
	return w.createVolume(ctx, request)
}

// networkSpace is the path of the network namespace that the task's pause container holds.
func (w *stepWork) networkSpace(ctx context.Context) (string, error) {
	i := w.snap.Spec.NetworkContainer()
	seen, err := w.e.opt.Runtime.Inspect(ctx, w.snap.State.Containers[i].RuntimeID)
	if err != nil {
		return "", fmt.Errorf("find the network of the task for its volume: %w", err)
	}
	if seen.Status != task.ContainerRunning || seen.Pid == 0 {
		return "", errors.New("find the network of the task for its volume: the pause container does not run")
	}
	return fmt.Sprintf("/proc/%d/ns/net", seen.Pid), nil
}

func (w *stepWork) sharedVolume(ctx context.Context, d *task.DockerVolume, request runtime.VolumeRequest) *task.Error {
	found, err := w.e.opt.Runtime.InspectVolume(ctx, request.Name)
	switch {
	case err != nil && !d.Autoprovision:
		return w.unrunnable("initialize volume: volume detection failed, volume '%s' does not exist and autoprovision is set to false: %s",
			request.Name, err)
	case errors.Is(err, runtime.ErrNotFound):
		return w.createVolume(ctx, request)
	case err != nil:
		return w.unrunnable("initialize volume: volume detection failed, volume '%s': %s", request.Name, err)
	case d.Autoprovision && w.e.opt.MatchSharedVolumes && !maps.Equal(found.Labels, d.Labels):
		return w.unrunnable("initialize volume: existing volume '%s' has other labels than the task asks for", request.Name)
	case d.Autoprovision && w.e.opt.MatchSharedVolumes && !maps.Equal(found.DriverOpts, d.DriverOpts):
		return w.unrunnable("initialize volume: existing volume '%s' has other driver options than the task asks for", request.Name)
	}
	return nil
}

func (w *stepWork) createVolume(ctx context.Context, request runtime.VolumeRequest) *task.Error {
	_, err := w.e.opt.Runtime.CreateVolume(ctx, request)
	if err == nil {
		return nil
	}
	text := reason(err, "").Message
	if text == "" {
		text = "VolumeError: Agent could not create task's volume resources"
	}
	return &task.Error{Name: "VolumeError", Message: task.ResourceReason(text)}
}

func (w *stepWork) unrunnable(format string, args ...any) *task.Error {
	return &task.Error{Name: "VolumeError", Message: task.Unrunnable(w.snap.ARN, fmt.Sprintf(format, args...))}
}
