package acs

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"ecsagent/agent/acs/wire"
	"ecsagent/agent/task"
)

// manifest compares what should run with what does, and offers the difference to
// ECS (docs/spec/01 section 2.8.5). A manifest that is older than work that came
// since is discarded without an answer.
func (s *Session) manifest(l *link, m wire.Manifest) {
	latest := s.opts.Engine.SequenceNumber()
	if m.Timeline <= latest {
		s.log.Info("manifest is out of date", zap.Int64("seq", m.Timeline), zap.Int64("latest", latest))
		return
	}
	if err := s.opts.Engine.Advance(m.Timeline); err != nil {
		s.log.Error("cannot save sequence number", zap.Int64("seq", m.Timeline), zap.Error(err))
		return
	}
	l.send(m.Ack())

	s.verifying, s.offered = m.ID, make(map[string]bool)
	offer := wire.StopVerification{MessageID: m.ID}
	for _, arn := range surplus(s.opts.Engine.Snapshots(), m.Tasks) {
		s.offered[arn] = true
		offer.StopCandidates = append(offer.StopCandidates, wire.TaskIdentifier{
			TaskARN: arn, ClusterARN: m.Cluster, DesiredStatus: task.Stopped.String(),
		})
	}
	if len(offer.StopCandidates) > 0 {
		s.log.Info("manifest lacks tasks that should run here", zap.Int("tasks", len(offer.StopCandidates)))
		l.send(offer)
	}
}

// surplus returns the tasks that are to run here although the manifest does not say
// so. An entry without a status says nothing against its task.
func surplus(snapshots []*task.Snapshot, wanted []wire.TaskIdentifier) []string {
	keep := make(map[string]bool, len(wanted))
	for _, w := range wanted {
		if w.DesiredStatus == task.Running.String() || w.DesiredStatus == "" {
			keep[w.TaskARN] = true
		}
	}
	var out []string
	for _, t := range snapshots {
		if t.State.Desired == task.Running && !keep[t.ARN] && !task.IsInternal(t.ARN) {
			out = append(out, t.ARN)
		}
	}
	slices.Sort(out)
	return out
}

// stopVerified stops the tasks that ECS confirms, as far as they were offered
// (docs/spec/01 section 2.8.6).
func (s *Session) stopVerified(ctx context.Context, m wire.StopVerificationAck) {
	if s.verifying == "" || m.ID != s.verifying {
		s.log.Warn("stop verification answers no manifest", zap.String("message", m.ID))
		return
	}
	var arns []string
	for _, t := range m.StopTasks {
		if !s.offered[t.TaskARN] {
			s.log.Warn("task was not offered for stopping", zap.String("task", t.TaskARN))
			continue
		}
		arns = append(arns, t.TaskARN)
	}
	if len(arns) > 0 {
		ctx, cancel := context.WithTimeout(ctx, handOver)
		defer cancel()
		if err := s.opts.Engine.StopTasks(ctx, arns); err != nil {
			s.log.Error("cannot stop tasks", zap.Int("tasks", len(arns)), zap.Error(err))
			return
		}
		s.log.Info("tasks that ECS does not know are stopped", zap.Strings("tasks", arns))
	}
	s.verifying, s.offered = "", nil
}
