package acs

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"go.uber.org/zap"

	"ecsagent/agent/acs/wire"
	"ecsagent/agent/credentials"
	"ecsagent/agent/task"
)

// intake is a payload on its way to the engine.
type intake struct {
	s        *Session
	delivery task.Delivery
	roles    []credentials.Set // of the tasks that are handed over
	stored   map[string]bool   // tasks that are new and got credentials
}

// payload hands the tasks of a payload to the engine and acknowledges it once all
// of them are durably answered: good ones as tasks, bad ones as rejections
// (docs/spec/01 section 2.9.2). If that fails nothing is acknowledged and ACS sends
// the payload again.
func (s *Session) payload(ctx context.Context, l *link, p wire.Payload) {
	in := &intake{s: s, stored: make(map[string]bool), delivery: task.Delivery{Seq: p.Seq}}
	for _, raw := range p.Tasks {
		in.take(raw)
	}
	in.settle()

	ctx, cancel := context.WithTimeout(ctx, handOver)
	defer cancel()
	if err := s.opts.Engine.Deliver(ctx, in.delivery); err != nil {
		s.log.Error("payload could not be handed over", zap.Int64("seq", p.Seq), zap.Error(err))
		for arn := range in.stored {
			if s.opts.Engine.Snapshot(arn) == nil {
				s.opts.Roles.RemoveTask(arn)
			}
		}
		return
	}
	l.send(p.Ack())
	for _, set := range in.roles {
		l.send(wire.CredentialsAck{MessageID: p.ID, Expiration: &set.Expiration, CredentialsID: set.ID})
	}
}

// take decodes one task of the payload.
func (in *intake) take(raw json.RawMessage) {
	t, err := wire.ParseTask(raw)
	if err != nil {
		in.reject(t.ARN, err)
		return
	}
	desired, err := t.Desired()
	if err != nil {
		in.reject(t.ARN, err)
		return
	}
	if known := in.s.opts.Engine.Snapshot(t.ARN); known != nil {
		in.takeKnown(t, known, desired)
		return
	}
	spec, warnings, err := t.Spec()
	for _, w := range warnings {
		in.s.log.Warn("task has something that is ignored", zap.String("task", t.ARN), zap.String("what", w))
	}
	if err != nil {
		in.reject(t.ARN, err)
		return
	}
	sets, err := t.Credentials()
	if err != nil {
		in.reject(t.ARN, err)
		return
	}
	in.delivery.Tasks = append(in.delivery.Tasks, task.Request{Spec: spec, Desired: desired})
	in.roles = append(in.roles, sets...)
	if desired == task.Stopped {
		return // it will not run: there is no use for the credentials
	}
	for _, set := range sets {
		in.s.opts.Roles.Put(set)
		in.stored[t.ARN] = true
	}
}

// takeKnown takes the repeat of a task: only its desired status and its credentials
// matter, and nothing in the rest can hurt the task that runs.
func (in *intake) takeKnown(t wire.Task, known *task.Snapshot, desired task.Status) {
	in.delivery.Tasks = append(in.delivery.Tasks, task.Request{Spec: known.Spec, Desired: desired})
	sets, err := t.Credentials()
	if err != nil {
		in.s.log.Warn("credentials in a repeated task are ignored", zap.String("task", t.ARN), zap.Error(err))
		return
	}
	for _, set := range sets {
		in.s.opts.Roles.Put(set)
	}
	in.roles = append(in.roles, sets...)
}

func (in *intake) reject(arn string, cause error) {
	in.s.log.Error("task of a payload is rejected", zap.String("task", arn), zap.Error(cause))
	if arn == "" {
		return // nothing that could be reported
	}
	in.delivery.Rejected = append(in.delivery.Rejected, task.Rejection{ARN: arn, Reason: wire.RejectionReason(cause)})
}

// settle puts stops before starts, and drops repeats and rejections of tasks that are answered
// otherwise.
func (in *intake) settle() {
	d := &in.delivery
	slices.SortStableFunc(d.Tasks, func(a, b task.Request) int {
		return cmp.Compare(order(a.Desired), order(b.Desired))
	})
	answered := make(map[string]bool)
	asked := make(map[string]task.Status)
	d.Tasks = slices.DeleteFunc(d.Tasks, func(r task.Request) bool {
		before, twice := asked[r.Spec.ARN]
		answered[r.Spec.ARN], asked[r.Spec.ARN] = true, r.Desired
		return twice && before == r.Desired
	})
	d.Rejected = slices.DeleteFunc(d.Rejected, func(r task.Rejection) bool {
		twice := answered[r.ARN]
		answered[r.ARN] = true
		return twice
	})
}

func order(desired task.Status) int {
	if desired == task.Stopped {
		return 0
	}
	return 1
}
