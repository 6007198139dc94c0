package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// stopping is how many containers heed no signal while launches are measured.
const stopping = 4

// deafTimeout is how long their stop would take, in seconds.
const deafTimeout = 120

// beside measures launches beside containers that are being stopped and will be for
// minutes, and launches without; a plain client and the agent each, turn and turn about.
func (b *bench) beside() error {
	r, err := b.newRig(false)
	if err != nil {
		return err
	}
	if err := r.start(b.ctx); err != nil {
		return err
	}
	if _, _, err := b.plainRound(1); err != nil {
		return err
	}
	if _, _, err := b.agentRound(r, 2); err != nil {
		return err
	}
	const plainAlone, plainBeside, agentAlone, agentBeside = 0, 1, 2, 3
	var times [4][]time.Duration
	for round := range b.rounds {
		for i, measure := range []func() (time.Duration, error){
			func() (time.Duration, error) { l, _, err := b.plainRound(1); return l, err },
			b.plainBesideDeaf,
			func() (time.Duration, error) { l, _, err := b.agentRound(r, 1); return l, err },
			func() (time.Duration, error) { return b.besideDeaf(r, round) },
		} {
			l, err := measure()
			if err != nil {
				return err
			}
			times[i] = append(times[i], l)
		}
	}
	of := func(i int) float64 { return ms(median(times[i])) }
	b.table.add(row{what: fmt.Sprintf("one task beside %d that are being stopped, payload to RUNNING", stopping),
		unit: "ms", floor: of(plainBeside), agent: of(agentBeside), goal: "≤ floor + 50 ms", met: of(agentBeside)-of(plainBeside) <= 50})
	b.table.add(row{what: "the same, none being stopped", unit: "ms", floor: of(plainAlone), agent: of(agentAlone)})
	return r.close()
}

// plainBesideDeaf launches a container while others are being stopped, and then ends
// those.
func (b *bench) plainBesideDeaf() (launch time.Duration, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	var ids []string
	for range stopping {
		created, err := b.docker.ContainerCreate(ctx, &container.Config{Image: b.ref, StopSignal: "SIGUSR2"},
			&container.HostConfig{NetworkMode: "bridge", Resources: container.Resources{Memory: 16 << 20, CPUShares: 2}}, nil, nil, "")
		if err != nil {
			return 0, fmt.Errorf("create a container that heeds no signal: %w", err)
		}
		ids = append(ids, created.ID)
		if err := b.docker.ContainerStart(ctx, created.ID, container.StartOptions{}); err != nil {
			return 0, fmt.Errorf("start a container that heeds no signal: %w", err)
		}
	}
	since, timeout := time.Now(), deafTimeout
	stopped := make(chan error, stopping)
	for _, id := range ids {
		go func() { stopped <- b.docker.ContainerStop(ctx, id, container.StopOptions{Timeout: &timeout}) }()
	}
	var last string
	if err = b.awaitSignals(ctx, since, ids); err == nil {
		begin := time.Now()
		last, err = b.plainLaunch()
		launch = time.Since(begin)
	}
	err = errors.Join(err, b.kill(ctx, ids))
	for range ids {
		err = errors.Join(err, <-stopped)
	}
	return launch, errors.Join(err, b.remove(append(ids, last)))
}

// awaitSignals waits until each container was sent a signal: its stop is under way.
func (b *bench) awaitSignals(ctx context.Context, since time.Time, ids []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, errs := b.docker.Events(ctx, events.ListOptions{
		Since:   fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()),
		Filters: filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)), filters.Arg("event", string(events.ActionKill))),
	})
	waiting := make(map[string]bool, len(ids))
	for _, id := range ids {
		waiting[id] = true
	}
	for len(waiting) > 0 {
		select {
		case m := <-messages:
			delete(waiting, m.Actor.ID)
		case err := <-errs:
			return fmt.Errorf("wait until containers are being stopped: %w", err)
		}
	}
	return nil
}

// kill ends containers that heed no signal, and fails where one has ended already.
func (b *bench) kill(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if err := b.docker.ContainerKill(ctx, id, "KILL"); err != nil {
			return fmt.Errorf("end a container that heeds no signal: %w", err)
		}
	}
	return nil
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
	since := time.Now()
	seq = r.NextSeq()
	if err := r.Payload(fmt.Sprintf("m%d", seq), seq, stop...); err != nil {
		return 0, err
	}
	if err := b.awaitSignals(ctx, since, containers); err != nil {
		return 0, err
	}
	launch, _, err := b.agentRound(r, 1)
	if err != nil {
		return 0, err
	}
	if err := b.kill(ctx, containers); err != nil {
		return 0, err
	}
	for _, id := range ids {
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
	c["stopTimeout"] = deafTimeout
	c["dockerConfig"] = map[string]any{"version": "1.24", "config": `{"StopSignal":"SIGUSR2"}`, "hostConfig": `{"NetworkMode":"bridge"}`}
	return t
}
