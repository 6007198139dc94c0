package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// environment notes where the numbers come from.
func (b *bench) environment() error {
	v, err := b.docker.ServerVersion(b.ctx)
	if err != nil {
		return fmt.Errorf("ask the engine for its version: %w", err)
	}
	info, err := b.docker.Info(b.ctx)
	if err != nil {
		return fmt.Errorf("ask the engine about itself: %w", err)
	}
	b.table.title = fmt.Sprintf("%d processors, Docker %s (%s), Linux %s, %s, %s",
		runtime.NumCPU(), v.Version, info.Driver, v.KernelVersion, runtime.Version(), time.Now().UTC().Format("2006-01-02"))
	return nil
}

func (b *bench) binary() error {
	info, err := os.Stat(filepath.Join(b.programs, "ecs-agent"))
	if err != nil {
		return fmt.Errorf("look at the agent's binary: %w", err)
	}
	size := float64(info.Size()) / (1 << 20)
	b.table.add(row{what: "binary", unit: "MiB", agent: size, old: "80 MiB", goal: "≤ 30 MiB", met: size <= 30})
	return nil
}

// startUp measures process start to registered.
func (b *bench) startUp() error {
	var registered, connected, cpu []time.Duration
	for range b.rounds {
		r, err := b.newRig(false)
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := r.start(b.ctx); err != nil {
			return err
		}
		call, err := r.AwaitCall(b.ctx, "RegisterContainerInstance")
		if err != nil {
			return err
		}
		registered, connected = append(registered, call.At.Sub(begin)), append(connected, time.Since(begin))
		used, err := threadsCPU(r.Agent.PID())
		if err != nil {
			return err
		}
		cpu = append(cpu, used)
		if err := r.close(); err != nil {
			return err
		}
	}
	m := ms(median(registered))
	b.table.add(row{what: "process start to registered", unit: "ms", agent: m, old: "195 ms", goal: "≤ 100 ms", met: m <= 100})
	b.table.add(row{what: "process start to ACS connected", unit: "ms", agent: ms(median(connected))})
	b.table.add(row{what: "agent CPU until then", unit: "ms", agent: ms(median(cpu))})
	return nil
}

// idleAgent measures the process that has nothing to do.
func (b *bench) idleAgent() error {
	r, err := b.newRig(false)
	if err != nil {
		return err
	}
	if err := r.start(b.ctx); err != nil {
		return err
	}
	if err := pause(b.ctx, 5*time.Second); err != nil {
		return err
	}
	before, err := processCPU(r.Agent.PID())
	if err != nil {
		return err
	}
	if err := pause(b.ctx, b.idle); err != nil {
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
	b.table.add(row{what: "idle RSS, no tasks", unit: "MiB", agent: rss, old: "43 MiB", goal: "≤ 22 MiB", met: rss <= 22})
	perMinute := ms(after-before) * float64(time.Minute) / float64(b.idle)
	b.table.add(row{what: "idle CPU, per minute", unit: "ms", agent: perMinute})
	return r.close()
}

// oneAndMany measures launches and stops of 1, 20 and 50 tasks, the floor and the agent
// taking turns, and the agent's CPU.
func (b *bench) oneAndMany() error {
	r, err := b.newRig(false)
	if err != nil {
		return err
	}
	if err := r.start(b.ctx); err != nil {
		return err
	}
	// Warm: connections, caches of the engine.
	if _, _, err := b.plainRound(2); err != nil {
		return err
	}
	if _, _, err := b.agentRound(r, 2); err != nil {
		return err
	}
	for _, n := range b.tasks {
		if err := b.compare(r, n); err != nil {
			return err
		}
	}
	rss, err := processRSS(r.Agent.PID())
	if err != nil {
		return err
	}
	b.table.add(row{what: "RSS after all of that", unit: "MiB", agent: rss})
	return r.close()
}

func (b *bench) compare(r *rig, n int) error {
	rounds := b.rounds
	if n > 1 {
		rounds = max(3, b.rounds/3)
	}
	var floorLaunch, floorStop, launch, stop []time.Duration
	var cpu time.Duration
	for range rounds {
		l, s, err := b.plainRound(n)
		if err != nil {
			return fmt.Errorf("plain client, %d at once: %w", n, err)
		}
		floorLaunch, floorStop = append(floorLaunch, l), append(floorStop, s)
		before, err := processCPU(r.Agent.PID())
		if err != nil {
			return err
		}
		if l, s, err = b.agentRound(r, n); err != nil {
			return fmt.Errorf("agent, %d at once: %w", n, err)
		}
		after, err := processCPU(r.Agent.PID())
		if err != nil {
			return err
		}
		cpu += after - before
		launch, stop = append(launch, l), append(stop, s)
	}
	b.addComparison(n, ms(median(floorLaunch)), ms(median(launch)), ms(median(floorStop)), ms(median(stop)))
	if perTask := ms(cpu) / float64(rounds*n); n == 1 {
		bare, err := b.clientCPU(rounds)
		if err != nil {
			return err
		}
		b.table.add(row{what: "CPU per task, one at a time (floor: a process that makes the four calls and follows the events)", unit: "ms", floor: ms(bare), agent: perTask, old: "21 ms", goal: "≤ 7 ms", met: perTask <= 7})
	} else {
		b.table.add(row{what: fmt.Sprintf("agent CPU per task, %d at once", n), unit: "ms", agent: perTask, goal: "≤ 7 ms", met: perTask <= 7})
	}
	return nil
}

func (b *bench) addComparison(n int, floorLaunch, launch, floorStop, stop float64) {
	if n == 1 {
		b.table.add(row{what: "one task, payload to RUNNING", unit: "ms", floor: floorLaunch, agent: launch,
			old: "floor + 104 ms", goal: "≤ floor + 10 ms", met: launch-floorLaunch <= 10})
		b.table.add(row{what: "stop of one, payload to STOPPED", unit: "ms", floor: floorStop, agent: stop,
			old: "floor + 38 ms", goal: "≤ floor + 5 ms", met: stop-floorStop <= 5})
		return
	}
	l := row{what: fmt.Sprintf("%d tasks at once, payload to RUNNING", n), unit: "ms", floor: floorLaunch, agent: launch}
	if n == 50 {
		l.old, l.goal, l.met = "1.05x", "≤ 0.95x", launch <= 0.95*floorLaunch
	}
	b.table.add(l)
	b.table.add(row{what: fmt.Sprintf("stop of %d at once", n), unit: "ms", floor: floorStop, agent: stop})
}

// calls counts what the agent asks of the engine.
func (b *bench) calls() error {
	r, err := b.newRig(true)
	if err != nil {
		return err
	}
	if err := r.start(b.ctx); err != nil {
		return err
	}
	if err := pause(b.ctx, 2*time.Second); err != nil {
		return err
	}
	atStart := r.counter.Calls()
	b.table.add(row{what: "Docker calls at start-up", agent: float64(len(atStart)), old: "36", goal: "≤ 8", met: len(atStart) <= 8})
	b.table.note("Docker calls at start-up: " + list(atStart))

	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	// The first task of an image asks Docker about the image once; the later ones count.
	r.counter.Reset()
	if _, err := b.deliver(ctx, r, []string{"first"}, "RUNNING"); err != nil {
		return err
	}
	if err := pause(b.ctx, time.Second); err != nil {
		return err
	}
	b.table.note("Docker calls of the first launch of an image: " + list(r.counter.Calls()))
	r.counter.Reset()
	if _, err := b.deliver(ctx, r, []string{"counted"}, "RUNNING"); err != nil {
		return err
	}
	if err := pause(b.ctx, time.Second); err != nil {
		return err
	}
	atLaunch := r.counter.Calls()
	b.table.add(row{what: "Docker calls per launch", agent: float64(len(atLaunch)), old: "10", goal: "≤ 3", met: len(atLaunch) <= 3})
	b.table.note("Docker calls per launch: " + list(atLaunch))
	r.counter.Reset()
	if _, err := b.deliver(ctx, r, []string{"counted"}, "STOPPED"); err != nil {
		return err
	}
	if err := pause(b.ctx, time.Second); err != nil {
		return err
	}
	atStop := r.counter.Calls()
	b.table.add(row{what: "Docker calls per stop", agent: float64(len(atStop))})
	b.table.note("Docker calls per stop: " + list(atStop))
	if _, err := b.deliver(ctx, r, []string{"first"}, "STOPPED"); err != nil {
		return err
	}
	return r.close()
}

func list[T fmt.Stringer](calls []T) string {
	var all []string
	for _, c := range calls {
		all = append(all, c.String())
	}
	return strings.Join(all, ", ")
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
