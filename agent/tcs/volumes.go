package tcs

import (
	"context"
	"slices"

	"ecsagent/agent/stats"
	"ecsagent/agent/task"
)

// addVolumes adds to the tasks of a round how full their EBS volumes are (docs/spec/04 section
// 8.7). Each question bounds itself.
func (s *Session) addVolumes(ctx context.Context, r *stats.Round) {
	if s.opts.Volumes == nil {
		return
	}
	var asked []*task.Snapshot
	var places []int // in the round
	for _, t := range s.opts.Tasks.Snapshots() {
		if !slices.ContainsFunc(t.Volumes, func(v task.Volume) bool { return v.Type == task.VolumeEBS }) {
			continue
		}
		if at := slices.IndexFunc(r.Tasks, func(u stats.TaskUsage) bool { return u.ARN == t.ARN }); at >= 0 {
			asked, places = append(asked, t), append(places, at)
		}
	}
	for i, answer := range answersOf(ctx, s.log, "usage of volumes", asked, s.opts.Volumes) {
		r.Tasks[places[i]].Volumes = answer
	}
}
