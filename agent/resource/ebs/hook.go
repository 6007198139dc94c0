package ebs

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/network"
	"ecsagent/agent/resource"
	"ecsagent/agent/task"
)

// waitLimit is how long a task waits for a volume: as a rule it was there before the task.
const waitLimit = 2 * time.Minute

// Hook has the volumes of a task mounted before its containers are created.
type Hook struct {
	Stager Stager // nil: this instance has no EBS volumes for tasks
	// What Sweep needs: the tasks that there are, the records of announcements, and what forgets
	// those of a task.
	Tasks   func() []*task.Snapshot
	Records func() []network.Attachment
	Forget  func(ctx context.Context, taskARN string) error
	Log     *zap.Logger
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

// Sweep implements engine.Sweeper: it unmounts volumes that were announced for tasks that
// never came, and forgets their records. A volume without a record is left alone: a task whose
// own record was lost, or that another agent has begun, may have it.
func (h Hook) Sweep(ctx context.Context, known func(taskID string) bool) error {
	if h.Stager == nil {
		return nil
	}
	records := h.Records()
	used := make(map[string]bool)
	for _, s := range h.Tasks() {
		for _, v := range volumesOf(s.Spec) {
			used[v.Name] = true
		}
	}
	lost := func(r *network.Attachment) bool {
		return r.Kind == network.EBSVolume && !r.ExpiresAt.After(time.Now()) && !known(r.TaskARN[strings.LastIndexByte(r.TaskARN, '/')+1:])
	}
	for i := range records {
		if r := &records[i]; r.Kind == network.EBSVolume && !lost(r) {
			used[volumeOf(r.Properties).Name] = true
		}
	}
	var failed []error
	for i := range records {
		r := &records[i]
		if !lost(r) || ctx.Err() != nil {
			continue
		}
		if name := volumeOf(r.Properties).Name; !used[name] {
			if err := h.Stager.Unstage(ctx, name); err != nil {
				failed = append(failed, err)
				continue // the record is looked at again with the next sweep
			}
			h.Log.Info("volume of a task that never came unmounted", zap.String("volume", r.VolumeID), zap.String("task", r.TaskARN))
		}
		failed = append(failed, h.Forget(ctx, r.TaskARN))
	}
	return errors.Join(failed...)
}
