package tcs

import (
	"context"
	"slices"
	"sync"

	"go.uber.org/zap"

	"ecsagent/agent/stats"
	"ecsagent/agent/task"
)

// addVolumes adds to the tasks of a round how full their EBS volumes are (docs/spec/04 section
// 8.7). Each question bounds itself, and no task waits for another.
func (s *Session) addVolumes(ctx context.Context, r *stats.Round) {
	if s.opts.Volumes == nil || len(r.Tasks) == 0 {
		return
	}
	var asked []*task.Snapshot
	for _, t := range s.opts.Tasks.Snapshots() {
		measured := slices.ContainsFunc(r.Tasks, func(u stats.TaskUsage) bool { return u.ARN == t.ARN })
		if measured && slices.ContainsFunc(t.Volumes, func(v task.Volume) bool { return v.Type == task.VolumeEBS }) {
			asked = append(asked, t)
		}
	}
	answers := make([][]stats.VolumeUsage, len(asked))
	var asking sync.WaitGroup
	for i, t := range asked {
		asking.Go(func() {
			var err error
			if answers[i], err = s.opts.Volumes(ctx, t); err != nil && ctx.Err() == nil {
				s.log.Debug("usage of volumes not read", zap.String("task", t.ARN), zap.Error(err))
			}
		})
	}
	asking.Wait()
	for i, t := range asked {
		for j := range r.Tasks {
			if r.Tasks[j].ARN == t.ARN {
				r.Tasks[j].Volumes = answers[i]
			}
		}
	}
}
