package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// usage measures the agent while tasks run and telemetry tells of them.
func (b *bench) usage() error {
	const tasks = 50
	r, err := b.newRig(true)
	if err != nil {
		return err
	}
	if err := r.start(b.ctx); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(b.ctx, 5*time.Minute)
	defer cancel()
	var ids []string
	for i := range tasks {
		ids = append(ids, fmt.Sprintf("u%d-%d", time.Now().UnixNano(), i))
	}
	if _, err := b.deliver(starting, r, ids, "RUNNING"); err != nil {
		return err
	}
	// The launch itself does not count, and memory that it took is given back.
	if err := pause(b.ctx, 10*time.Second); err != nil {
		return err
	}
	r.counter.Reset()
	before, err := processCPU(r.Agent.PID())
	if err != nil {
		return err
	}
	const watched = time.Minute
	if err := pause(b.ctx, watched); err != nil {
		return err
	}
	after, err := processCPU(r.Agent.PID())
	if err != nil {
		return err
	}
	rss, err := processRSS(r.Agent.PID())
	if err != nil {
		return err
	}
	streams := 0
	for _, c := range r.counter.Calls() {
		if strings.HasSuffix(c.Path, "/stats") {
			streams++
		}
	}
	cpu := ms(after - before)
	b.table.add(row{what: "50 tasks, telemetry on: CPU a minute", unit: "ms", agent: cpu, old: "850 ms", goal: "≤ 150 ms", met: cpu <= 150})
	b.table.add(row{what: "50 tasks, telemetry on: RSS", unit: "MiB", agent: rss, old: "64 MiB", goal: "≤ 32 MiB", met: rss <= 32})
	b.table.add(row{what: "Docker stats streams held open", agent: float64(streams), old: "50", goal: "0", met: streams == 0})
	stopping, cancel := context.WithTimeout(b.ctx, 5*time.Minute)
	defer cancel()
	if _, err := b.deliver(stopping, r, ids, "STOPPED"); err != nil {
		return err
	}
	return r.close()
}
