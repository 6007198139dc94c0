package main

import (
	"context"
	"fmt"
	"time"

	"ecsagent/tests/harness"
)

// agentRound runs and stops n tasks of one container, in one payload each way.
func (b *bench) agentRound(r *rig, n int) (launch, stop time.Duration, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("b%d-%d-%d", time.Now().UnixNano(), n, i))
	}
	if launch, err = b.deliver(ctx, r, ids, "RUNNING"); err != nil {
		return 0, 0, err
	}
	if stop, err = b.deliver(ctx, r, ids, "STOPPED"); err != nil {
		return 0, 0, err
	}
	var containers []string
	for _, id := range ids {
		for _, change := range r.Changes(r.TaskARN(id)) {
			for _, c := range change.Containers {
				if change.Status == "STOPPED" {
					containers = append(containers, c.RuntimeID)
				}
				if c.Reason != "" {
					return 0, 0, fmt.Errorf("task %s: %s", id, c.Reason)
				}
			}
		}
	}
	return launch, stop, b.remove(containers)
}

// deliver sends a payload and returns when the last task was reported to have the status.
func (b *bench) deliver(ctx context.Context, r *rig, ids []string, status string) (time.Duration, error) {
	var tasks []any
	for _, id := range ids {
		t := b.task(r, id, status)
		if r.edit != nil {
			r.edit(t)
		}
		tasks = append(tasks, t)
	}
	return b.reach(ctx, r, tasks, ids, status)
}

// reach sends tasks and returns when the last was reported to have the status.
func (b *bench) reach(ctx context.Context, r *rig, tasks []any, ids []string, status string) (time.Duration, error) {
	seq := r.NextSeq()
	begin := time.Now()
	if err := r.Payload(fmt.Sprintf("m%d", seq), seq, tasks...); err != nil {
		return 0, err
	}
	last := begin
	for _, id := range ids {
		c, err := r.AwaitChange(ctx, r.TaskARN(id), status)
		if err != nil {
			return 0, fmt.Errorf("%w\n%s", err, harness.Tail(r.AgentLog(), 20))
		}
		if c.At.After(last) {
			last = c.At
		}
	}
	return last.Sub(begin), nil
}

// task is a task as ACS carries it.
func (b *bench) task(r *rig, id, status string) map[string]any {
	return map[string]any{
		"arn": r.TaskARN(id), "taskClusterArn": r.ClusterARN(), "family": "bench", "version": "1",
		"desiredStatus": status, "launchType": "EC2", "networkMode": "bridge", "volumes": []any{},
		"containers": []any{map[string]any{
			"name": "app", "image": b.ref, "essential": true, "cpu": 2, "memory": 16, "overrides": "{}",
			"dockerConfig": map[string]any{"version": "1.24", "config": "{}", "hostConfig": `{"NetworkMode":"bridge"}`},
		}},
	}
}
