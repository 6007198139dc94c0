package main

import (
	"context"
	"fmt"
	"time"
)

// stopping is how many containers heed no signal while launches are measured.
const stopping = 4

// beside measures launches beside tasks that are being stopped and will be for minutes,
// and launches without, turn and turn about.
func (b *bench) beside() error {
	r, err := b.newRig(false)
	if err != nil {
		return err
	}
	if err := r.start(b.ctx); err != nil {
		return err
	}
	if _, _, err := b.agentRound(r, 2); err != nil {
		return err
	}
	var alone, beside []time.Duration
	for round := range b.rounds {
		l, _, err := b.agentRound(r, 1)
		if err != nil {
			return err
		}
		alone = append(alone, l)
		if l, err = b.besideDeaf(r, round); err != nil {
			return err
		}
		beside = append(beside, l)
	}
	without, with := ms(median(alone)), ms(median(beside))
	b.table.add(row{what: fmt.Sprintf("one task beside %d that are being stopped, payload to RUNNING (floor: the same agent, none stopping)", stopping),
		unit: "ms", floor: without, agent: with, goal: "≤ floor + 50 ms", met: with-without <= 50})
	return r.close()
}

// besideDeaf launches a task while others are being stopped, and then ends those.
func (b *bench) besideDeaf(r *rig, round int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	var run, stop []any
	var ids []string
	for i := range stopping {
		id := fmt.Sprintf("deaf%d-%d-%d", time.Now().UnixNano(), round, i)
		ids = append(ids, id)
		run, stop = append(run, b.deaf(r, id, "RUNNING")), append(stop, b.deaf(r, id, "STOPPED"))
	}
	seq := r.NextSeq()
	if err := r.Payload(fmt.Sprintf("m%d", seq), seq, run...); err != nil {
		return 0, err
	}
	var containers []string
	for _, id := range ids {
		c, err := r.AwaitChange(ctx, r.TaskARN(id), "RUNNING")
		if err != nil {
			return 0, err
		}
		containers = append(containers, c.Containers[0].RuntimeID)
	}
	seq = r.NextSeq()
	message := fmt.Sprintf("m%d", seq)
	if err := r.Payload(message, seq, stop...); err != nil {
		return 0, err
	}
	// The acknowledgement says that the stops are durable; their calls follow at once.
	if _, err := r.AwaitAck(ctx, message); err != nil {
		return 0, err
	}
	launch, _, err := b.agentRound(r, 1)
	if err != nil {
		return 0, err
	}
	for i, id := range ids {
		if n := len(r.Changes(r.TaskARN(id))); n > 0 && r.Changes(r.TaskARN(id))[n-1].Status == "STOPPED" {
			return 0, fmt.Errorf("task %s heeds signals after all", id)
		}
		if err := b.docker.ContainerKill(ctx, containers[i], "KILL"); err != nil {
			return 0, fmt.Errorf("end a container that heeds no signal: %w", err)
		}
		if _, err := r.AwaitChange(ctx, r.TaskARN(id), "STOPPED"); err != nil {
			return 0, err
		}
	}
	return launch, b.remove(containers)
}

// deaf is a task whose container does not heed its stop signal for minutes: a first
// process ignores what it does not handle.
func (b *bench) deaf(r *rig, id, status string) map[string]any {
	t := b.task(r, id, status)
	c := t["containers"].([]any)[0].(map[string]any)
	c["stopTimeout"] = 120
	c["dockerConfig"] = map[string]any{"version": "1.24", "config": `{"StopSignal":"SIGUSR2"}`, "hostConfig": `{"NetworkMode":"bridge"}`}
	return t
}
