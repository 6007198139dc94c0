package ebs

import (
	"context"
	"errors"
	"time"

	"ecsagent/agent/resource"
	"ecsagent/agent/task"
)

// waitLimit is how long a task waits for a volume: as a rule it was there before the task.
const waitLimit = 2 * time.Minute

// Hook has the volumes of a task mounted before its containers are created.
type Hook struct {
	Stager Stager // nil: this instance has no EBS volumes for tasks
}

// Kind implements engine.Hook.
func (Hook) Kind() string { return "ebs" }

// Needs implements engine.Hook.
func (h Hook) Needs(spec *task.Spec) ([]task.Resource, error) {
	if len(volumesOf(spec)) == 0 {
		return nil, nil
	}
	if h.Stager == nil {
		return nil, errors.New("EBS volumes are not supported on this container instance")
	}
	return []task.Resource{{Name: "ebs", Text: "EBS volumes", Before: task.ContainerCreated}}, nil
}

// Preview implements engine.Hook.
func (Hook) Preview(*task.Spec, *task.Resource) resource.Provided { return resource.Provided{} }

// Provision implements engine.Hook. Volumes are there already, but for a host that was
// started anew meanwhile and a device that is late.
func (h Hook) Provision(ctx context.Context, s *task.Snapshot, _ *task.Resource) (resource.Provided, error) {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for _, v := range volumesOf(s.Spec) {
		if err := h.await(ctx, v); err != nil {
			return resource.Provided{}, &task.Error{Name: "VolumeError", Message: "EBS volume " + v.VolumeID + ": " + err.Error()}
		}
	}
	return resource.Provided{}, nil
}

func (h Hook) await(ctx context.Context, v Volume) error {
	for {
		err := h.Stager.Stage(ctx, v)
		if !errors.Is(err, ErrNoDevice) {
			return err
		}
		timer := time.NewTimer(lookEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// CleanUp implements engine.Hook: as a rule they were unmounted when the task stopped.
func (h Hook) CleanUp(ctx context.Context, s *task.Snapshot, _ *task.Resource, _ map[string]string) error {
	var failed []error
	for _, v := range volumesOf(s.Spec) {
		failed = append(failed, h.Stager.Unstage(ctx, v.Name))
	}
	return errors.Join(failed...)
}
