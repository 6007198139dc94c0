package taskengine

import (
	"testing"
	"time"

	"ecsagent/agent/engine"
	"ecsagent/agent/task"
)

// times are when the engine started and ended a container.
func (r *rig) times(id string) (began, ended time.Time) {
	r.t.Helper()
	info, err := shared.docker.ContainerInspect(r.ctx, id)
	if err != nil {
		r.t.Fatal(err)
	}
	began, _ = time.Parse(time.RFC3339Nano, info.State.StartedAt)
	ended, _ = time.Parse(time.RFC3339Nano, info.State.FinishedAt)
	return began, ended
}

// before checks that one container began before another did.
func (r *rig) before(st *task.State, first, then int) {
	r.t.Helper()
	a, _ := r.times(st.Containers[first].RuntimeID)
	b, _ := r.times(st.Containers[then].RuntimeID)
	if !b.After(a) {
		r.t.Errorf("container %d began %v before container %d", then, a.Sub(b), first)
	}
}

func startTimeout(d time.Duration) func(*task.Container) {
	return func(c *task.Container) { c.StartTimeout = d }
}

// checked has a health check of Docker's that ECS wants to hear of.
func checked(test string) func(*task.Container) {
	return func(c *task.Container) {
		c.HealthCheckType = "docker"
		c.DockerConfig = `{"Healthcheck":{"Test":["CMD-SHELL","` + test + `"],"Interval":200000000,"Timeout":5000000000,"Retries":50}}`
	}
}

// A chain of every condition comes up in its order.
func TestEveryCondition(t *testing.T) {
	r := newRig(t, noTrouble())
	spec := r.spec(
		sleeper("last", after("started", task.DependsStart)),
		sleeper("started", after("healthy", task.DependsHealthy)),
		sh("healthy", "sleep 0.5; touch /tmp/up; trap 'exit 0' TERM; sleep 3600 & while :; do wait; done", checked("test -e /tmp/up"), after("good", task.DependsSuccess)),
		sh("good", "sleep 0.2; exit 0", nonEssential, after("bad", task.DependsComplete)),
		sh("bad", "sleep 0.2; exit 9", nonEssential),
	)
	r.run(spec)
	r.waitsFor(spec, "dependency bad to be COMPLETE")
	st := r.becomes(spec, task.Running)
	for i := range 4 {
		r.before(st, i+1, i)
	}
	_, badEnd := r.times(st.Containers[4].RuntimeID)
	good, goodEnd := r.times(st.Containers[3].RuntimeID)
	healthy, _ := r.times(st.Containers[2].RuntimeID)
	if good.Before(badEnd) || healthy.Before(goodEnd) {
		t.Errorf("good began %v, bad ended %v; healthy began %v, good ended %v", good, badEnd, healthy, goodEnd)
	}
	r.stops(spec)
}

// Start time-outs count from the dependency's start, for every condition but START.
func TestStartTimeouts(t *testing.T) {
	for condition, container := range map[task.Condition]task.Container{
		task.DependsHealthy:  sleeper("db", checked("false"), startTimeout(time.Second), nonEssential),
		task.DependsComplete: sleeper("db", startTimeout(time.Second), nonEssential),
		task.DependsSuccess:  sleeper("db", startTimeout(time.Second), nonEssential),
	} {
		t.Run(string(condition), func(t *testing.T) {
			r := newRig(t, noTrouble())
			spec := r.spec(sleeper("app", after("db", condition)), container)
			r.run(spec)
			st := r.becomes(spec, task.Stopped)
			r.ended(&st.Containers[0], "143", "CannotStartContainerError: dependency graph: container ordering dependency [db("+shared.tools+
				") (RUNNING->RUNNING)] for target [app("+shared.tools+") (MANIFEST_PULLED->RUNNING)] has timed out.")
			began, _ := r.times(st.Containers[1].RuntimeID)
			if d := st.ExecutionStoppedAt.Sub(began); d < time.Second {
				t.Errorf("given up %v after the dependency's start", d)
			}
			if st.Containers[0].RuntimeID != "" {
				t.Error("the container was made")
			}
		})
	}
}

// A dependency that can never be met any more stops the container at once, and with the
// specified reason (docs/spec/02 section 3.7).
func TestImpossibleDependencies(t *testing.T) {
	for name, c := range map[string]struct {
		dependency task.Container
		condition  task.Condition
		reason     string
	}{
		"no success": {sh("dep", "exit 3", nonEssential), task.DependsSuccess,
			"failed to resolve container ordering dependency [dep(IMAGE) (STOPPED->RUNNING) - Exit: 3] for target [app(IMAGE) (MANIFEST_PULLED->RUNNING)] as dependency did not exit successfully."},
		"never starts": {sh("dep", "", nonEssential, func(c *task.Container) { c.Command = []string{"/no/such"} }), task.DependsStart,
			"failed to resolve container ordering dependency [dep(IMAGE) (CREATED->STOPPED)] for target [app(IMAGE) (MANIFEST_PULLED->RUNNING)] because dependency will never start"},
		"dead and never healthy": {sh("dep", "exit 0", nonEssential, checked("true")), task.DependsHealthy,
			"failed to resolve container ordering dependency [dep(IMAGE) (STOPPED->RUNNING) - Exit: 0] for target [app(IMAGE) (MANIFEST_PULLED->RUNNING)] because dependency stopped and will never be healthy"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, noTrouble())
			spec := r.spec(sleeper("app", after("dep", c.condition)), c.dependency)
			r.run(spec)
			st := r.becomes(spec, task.Stopped)
			r.ended(&st.Containers[0], "143", "CannotStartContainerError: dependency graph: "+replaceImage(c.reason))
		})
	}
}

// Graphs that cannot be resolved are rejected at once: nothing is made.
func TestUnresolvableGraphs(t *testing.T) {
	r := newRig(t, noTrouble())
	unhealthy := sleeper("db")
	for name, containers := range map[string][]task.Container{
		"cycle of one":       {sleeper("a", after("a", task.DependsStart))},
		"cycle of three":     {sleeper("a", after("b", task.DependsStart)), sleeper("b", after("c", task.DependsComplete)), sleeper("c", after("a", task.DependsHealthy), checked("true")), sleeper("d")},
		"cycle through link": {sleeper("a", func(c *task.Container) { c.Links = []string{"b"} }), sleeper("b", after("a", task.DependsStart))},
		"cycle through volumes": {
			sleeper("a", func(c *task.Container) { c.VolumesFrom = []task.VolumeFrom{{SourceContainer: "b"}} }), sleeper("b", after("a", task.DependsStart)),
		},
		"nobody":              {sleeper("a", after("nobody", task.DependsStart))},
		"unknown condition":   {sleeper("a", after("b", "WHENEVER")), sleeper("b")},
		"health of unchecked": {sleeper("a", after("db", task.DependsHealthy)), unhealthy},
	} {
		spec := r.spec(containers...)
		r.run(spec)
		st := r.becomes(spec, task.Stopped)
		if want := "Task dependencies cannot be resolved, taskArn: " + spec.ARN; st.TerminalReason != want {
			t.Errorf("%s: reason %q, want %q", name, st.TerminalReason, want)
		}
		if n := len(r.containers(spec)); n != 0 {
			t.Errorf("%s: %d containers", name, n)
		}
	}
	r.works()
}

// Links and volumesFrom order containers by themselves.
func TestImplicitOrder(t *testing.T) {
	r := newRig(t, noTrouble())
	spec := r.spec(
		sleeper("guest", func(c *task.Container) { c.VolumesFrom = []task.VolumeFrom{{SourceContainer: "owner"}} }),
		sleeper("client", func(c *task.Container) { c.Links = []string{"server:alias"} }),
		sleeper("server"), sleeper("owner"),
	)
	st := r.runs(spec)
	r.before(st, 2, 1)
	guest, owner := created(r, st.Containers[0].RuntimeID), created(r, st.Containers[3].RuntimeID)
	if !guest.After(owner) {
		t.Errorf("guest was created %v before owner", owner.Sub(guest))
	}
	st = r.stops(spec)
	for _, pair := range [][2]int{{0, 3}, {1, 2}} {
		if first, then := &st.Containers[pair[0]], &st.Containers[pair[1]]; then.FinishedAt.Before(first.FinishedAt) {
			t.Errorf("%s ended before %s", spec.Containers[pair[1]].Name, spec.Containers[pair[0]].Name)
		}
	}
}

func created(r *rig, id string) time.Time {
	r.t.Helper()
	info, err := shared.docker.ContainerInspect(r.ctx, id)
	if err != nil {
		r.t.Fatal(err)
	}
	at, _ := time.Parse(time.RFC3339Nano, info.Created)
	return at
}

// A restart policy restarts in place and counts; ignored codes and short runs end it.
func TestRestartInPlace(t *testing.T) {
	policy := func(period time.Duration, ignored ...int) func(*task.Container) {
		return func(c *task.Container) {
			c.Restart = &task.RestartPolicy{Enabled: true, AttemptPeriod: period, IgnoredExitCodes: ignored}
		}
	}
	t.Run("until an ignored code", func(t *testing.T) {
		r := newRig(t, noTrouble())
		spec := r.spec(sh("app", "n=$(cat /tmp/n 2>/dev/null || echo 0); echo $((n+1)) >/tmp/n; [ $n -lt 3 ] || exit 42; sleep 0.3; exit 1", policy(0, 42)))
		r.run(spec)
		st := r.becomes(spec, task.Stopped)
		r.ended(&st.Containers[0], "42", "")
		if n := st.Containers[0].RestartCount; n != 3 {
			t.Errorf("%d restarts, want 3\n%s", n, r.story(spec))
		}
		r.single(spec)
		r.tells(spec, task.EventRestart, "restart 3, exit code 1")
	})
	t.Run("not within the period", func(t *testing.T) {
		r := newRig(t, noTrouble())
		spec := r.spec(sh("app", "exit 4", policy(time.Hour)))
		r.run(spec)
		st := r.becomes(spec, task.Stopped)
		r.ended(&st.Containers[0], "4", "")
		if n := st.Containers[0].RestartCount; n != 0 {
			t.Errorf("%d restarts, want none", n)
		}
	})
	t.Run("not after a stop", func(t *testing.T) {
		r := newRig(t, noTrouble())
		spec := r.spec(sleeper("app", policy(0)))
		r.runs(spec)
		st := r.stops(spec)
		r.ended(&st.Containers[0], "0", "")
		if n := st.Containers[0].RestartCount; n != 0 {
			t.Errorf("%d restarts, want none", n)
		}
	})
	t.Run("counts outlive the agent", func(t *testing.T) {
		r := newRig(t, noTrouble())
		spec := r.spec(sh("app", "trap 'exit 0' TERM; sleep 3600 & while :; do wait; done", policy(0)))
		st := r.runs(spec)
		r.kill(st.Containers[0].RuntimeID, "KILL")
		r.await(spec, "restart", func(st *task.State) bool { return st.Containers[0].RestartCount == 1 })
		r.eventually("the second run", func() bool { return r.single(spec).State == "running" })
		r.eventually("the restart to be over", func() bool { return !r.state(spec).Containers[0].Restarting })
		r.never(spec, task.Stopped)
		r.stop()
		r.start()
		r.eventually("the task to be known", func() bool { return r.state(spec).Known == task.Running })
		if n := r.state(spec).Containers[0].RestartCount; n != 1 {
			t.Errorf("%d restarts after the agent's own, want 1", n)
		}
		r.heeds(st.Containers[0].RuntimeID)
		r.stops(spec)
	})
}

// Health goes the way Docker tells, and back.
func TestHealthOfContainers(t *testing.T) {
	r := newRig(t, settings{options: func(o *engine.Options) { o.StopTimeout = time.Second }})
	ok := func(c *task.Container) {
		c.HealthCheckType = "docker"
		c.DockerConfig = `{"Healthcheck":{"Test":["CMD-SHELL","echo probed; test ! -e /tmp/ill"],"Interval":200000000,"Timeout":5000000000,"Retries":1}}`
	}
	spec := r.spec(sh("app", "trap 'touch /tmp/ill' USR1; trap 'rm /tmp/ill' USR2; trap 'exit 0' TERM; sleep 3600 & while :; do wait; done", ok), sleeper("plain"))
	st := r.runs(spec)
	id := st.Containers[0].RuntimeID
	health := func(h task.Health) {
		t.Helper()
		r.eventually("health "+h.String(), func() bool { return r.state(spec).Containers[0].Health == h })
	}
	health(task.HealthHealthy)
	r.kill(id, "USR1")
	health(task.HealthUnhealthy)
	r.kill(id, "USR2")
	health(task.HealthHealthy)
	c := r.state(spec).Containers
	if c[0].HealthOutput != "probed\n" || c[0].HealthSince.IsZero() || c[1].Health != task.HealthUnknown {
		t.Errorf("health %s", pretty(c))
	}
	for _, h := range []string{"UNHEALTHY", "HEALTHY"} {
		r.tells(spec, task.EventHealth, h)
	}
	r.never(spec, task.Stopped)
	r.stops(spec)
}
