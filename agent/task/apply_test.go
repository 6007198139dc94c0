package task

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// at makes a one-container task whose container is at a status, with a step under
// way.
func at(k, applied ContainerStatus) (*Spec, *State) {
	spec := specOf("a")
	st := NewState(spec, Running, t0)
	known(&st, 0, k)
	st.Containers[0].Applied = applied
	Apply(spec, &st, Begin{Step: Step{Kind: StepVolume + 100}}, t0, admitted) // derive only
	st.Containers[0].Applied = applied
	return spec, &st
}

var failure = &Error{Name: "CannotPullContainerError", Message: "no route"}

// TestStepFailures: the table of docs/spec/02 section 2.6, step 5.
func TestStepFailures(t *testing.T) {
	type want struct {
		known, desired ContainerStatus
		task           Status // desired
		uncertain      bool
		blamed         bool
	}
	tests := []struct {
		name  string
		step  StepKind
		known ContainerStatus
		done  Done
		pull  PullBehavior
		want  want
	}{
		{"manifest, default", StepManifest, ContainerNone, Done{}, PullDefault, want{ContainerManifestPulled, ContainerRunning, Running, false, true}},
		{"manifest, cached", StepManifest, ContainerNone, Done{}, PullPreferCached, want{ContainerManifestPulled, ContainerRunning, Running, false, true}},
		{"manifest, always", StepManifest, ContainerNone, Done{}, PullAlways, want{ContainerManifestPulled, ContainerStopped, Stopped, false, true}},
		{"pull, default", StepPull, ContainerManifestPulled, Done{}, PullDefault, want{ContainerPulled, ContainerRunning, Running, false, true}},
		{"pull, once", StepPull, ContainerManifestPulled, Done{}, PullOnce, want{ContainerPulled, ContainerStopped, Stopped, false, true}},
		{"create", StepCreate, ContainerPulled, Done{}, PullDefault, want{ContainerPulled, ContainerStopped, Stopped, false, true}},
		{"start", StepStart, ContainerCreated, Done{}, PullDefault, want{ContainerCreated, ContainerStopped, Stopped, false, true}},
		{"start, who knows", StepStart, ContainerCreated, Done{Uncertain: true}, PullDefault, want{ContainerCreated, ContainerStopped, Stopped, true, true}},
		{"stop", StepStop, ContainerRunning, Done{}, PullDefault, want{ContainerStopped, ContainerStopped, Stopped, false, true}},
		{"stop, and it runs on", StepStop, ContainerRunning, Done{Unstopped: true}, PullDefault, want{ContainerRunning, ContainerRunning, Running, false, true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, st := at(tt.known, tt.step.Target())
			tt.done.Step, tt.done.Err = Step{Kind: tt.step}, failure
			Apply(spec, st, tt.done, t0, Rules{Admitted: true, Pull: tt.pull})
			c := &st.Containers[0]
			got := want{c.Known, c.Desired, st.Desired, c.Uncertain, c.Error == failure}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			if c.Applied != ContainerNone {
				t.Errorf("step still under way: %v", c.Applied)
			}
		})
	}
}

func TestFailedStopIsRetriedLater(t *testing.T) {
	spec, st := at(ContainerRunning, ContainerStopped)
	Apply(spec, st, Desire{Status: Stopped}, t0, admitted)
	var waited time.Duration
	now := t0
	for range 8 {
		st.Containers[0].Applied = ContainerStopped
		Apply(spec, st, Done{Step: Step{Kind: StepStop}, Unstopped: true}, now, admitted)
		m := Settle(spec, st, now, admitted)
		if len(m.Steps) != 0 || !m.Wake.After(now) || waitsOf(m) != fmt.Sprintf("%d ", WaitRuntime) {
			t.Fatalf("after a failure: %+v", m)
		}
		if waited = m.Wake.Sub(now); waited > time.Minute {
			t.Fatalf("waits %v", waited)
		}
		now = m.Wake
		if got := stepsOf(Settle(spec, st, now, admitted)); got != "stop 0" {
			t.Fatalf("when it is time: %q", got)
		}
	}
	if waited != time.Minute || st.Containers[0].Error != nil || st.Known == Stopped {
		t.Errorf("at last waits %v, state %+v", waited, st)
	}
}

// TestFirstErrorIsKept: the first error that applied stays, until a later step shows
// that it did no harm (docs/spec/02 section 2.6; chapter 14, number 1).
func TestFirstErrorIsKept(t *testing.T) {
	manifest := &Error{Name: "CannotPullImageManifestError", Message: "name unknown"}
	spec, st := at(ContainerNone, ContainerManifestPulled)
	step := func(kind StepKind, err *Error) {
		st.Containers[0].Applied = kind.Target()
		Apply(spec, st, Done{Step: Step{Kind: kind}, Err: err}, t0, admitted)
	}
	step(StepManifest, manifest)
	step(StepPull, failure)
	step(StepCreate, &Error{Name: "CannotCreateContainerError", Message: "no such image"})
	if st.Containers[0].Error != manifest {
		t.Errorf("error %v", st.Containers[0].Error)
	}

	spec, st = at(ContainerNone, ContainerManifestPulled)
	step(StepManifest, manifest)
	step(StepPull, failure)
	step(StepCreate, nil)
	if st.Containers[0].Error != nil {
		t.Errorf("error %v stays though the container was created", st.Containers[0].Error)
	}
}

func TestUpfrontPullFailure(t *testing.T) {
	rules := Rules{Admitted: true, PullUpfront: true}
	for _, tt := range []struct {
		name    string
		imageID string
		stops   bool
	}{{"image is here", "sha256:1", false}, {"image is not here", "", true}} {
		t.Run(tt.name, func(t *testing.T) {
			spec, st := at(ContainerManifestPulled, ContainerPulled)
			Apply(spec, st, Done{Step: Step{Kind: StepPull}, Err: failure, ImageID: tt.imageID}, t0, rules)
			if stops := st.Desired == Stopped; stops != tt.stops {
				t.Errorf("state %+v", st)
			}
			if tt.stops && st.TerminalReason != "CannotPullContainerError: no route" {
				t.Errorf("reason %q", st.TerminalReason)
			}
		})
	}
}

// TestExit: A3, A4 and A16 of docs/spec/02 chapter 13.
func TestExit(t *testing.T) {
	sight := func(s Sight) *Sight { s.Status = ContainerStopped; return &s }
	tests := []struct {
		name      string
		essential bool
		exit      Exit
		reason    string
		code      *int
		stops     bool
	}{
		{"essential", true, Exit{ExitCode: code(3)}, "", code(3), true},
		{"not essential", false, Exit{ExitCode: code(3)}, "", code(3), false},
		{"inspect wins over event", true, Exit{ExitCode: code(9), Sight: sight(Sight{ExitCode: code(3)})}, "", code(3), true},
		{"event when inspect has none", true, Exit{ExitCode: code(9), Sight: sight(Sight{})}, "", code(9), true},
		{"oom", true, Exit{ExitCode: code(137), Sight: sight(Sight{OOM: true, StateError: "x"})},
			"OutOfMemoryError: Container killed due to memory usage", code(137), true},
		{"docker's own error", true, Exit{Sight: sight(Sight{StateError: "runc died"})}, "DockerStateError: runc died", nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := specOf("a", "b")
			spec.Containers[0].Essential = tt.essential
			st := NewState(spec, Running, t0)
			known(&st, 0, ContainerRunning)
			known(&st, 1, ContainerRunning)
			end := t0.Add(time.Hour)
			Apply(spec, &st, tt.exit, end, admitted)
			c := &st.Containers[0]
			reason := ""
			if c.Error != nil {
				reason = c.Error.Error()
			}
			if c.Known != ContainerStopped || reason != tt.reason || fmt.Sprint(deref(c.ExitCode)) != fmt.Sprint(deref(tt.code)) {
				t.Errorf("container %+v, reason %q", c, reason)
			}
			if (st.Desired == Stopped) != tt.stops || (st.ExecutionStoppedAt.Equal(end)) != tt.stops {
				t.Errorf("task desired %v, execution stopped %v", st.Desired, st.ExecutionStoppedAt)
			}
			if st.Known == Stopped || st.TerminalReason != "" {
				t.Errorf("task %v %q", st.Known, st.TerminalReason)
			}
		})
	}
}

func deref(p *int) any {
	if p == nil {
		return nil
	}
	return *p
}

// TestRestartPolicy: the checks of docs/spec/02 section 8.3, and A17.
func TestRestartPolicy(t *testing.T) {
	policy := RestartPolicy{Enabled: true, IgnoredExitCodes: []int{0}, AttemptPeriod: time.Minute}
	tests := []struct {
		name     string
		edit     func(*Spec, *State, *Exit)
		after    time.Duration
		restarts bool
	}{
		{"after the period", nil, 70 * time.Second, true},
		{"too soon", nil, 59 * time.Second, false},
		{"off", func(s *Spec, _ *State, _ *Exit) { s.Containers[0].Restart.Enabled = false }, time.Hour, false},
		{"should stop", func(_ *Spec, st *State, _ *Exit) { st.Containers[0].Desired = ContainerStopped }, time.Hour, false},
		{"no exit code", func(_ *Spec, _ *State, e *Exit) { e.ExitCode = nil }, time.Hour, false},
		{"ignored code", func(_ *Spec, _ *State, e *Exit) { e.ExitCode = code(0) }, time.Hour, false},
		{"since the last restart", func(_ *Spec, st *State, _ *Exit) { st.Containers[0].LastRestartAt = t0.Add(time.Hour) }, time.Hour + 5*time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, st := at(ContainerRunning, ContainerNone)
			own := policy
			spec.Containers[0].Restart = &own
			exit := Exit{ExitCode: code(1), Time: t0.Add(tt.after)}
			if tt.edit != nil {
				tt.edit(spec, st, &exit)
			}
			Apply(spec, st, exit, t0.Add(tt.after), admitted)
			c := &st.Containers[0]
			if c.Restarting != tt.restarts || (c.RestartCount == 1) != tt.restarts || (c.Known == ContainerRunning) != tt.restarts {
				t.Fatalf("container %+v", c)
			}
			if tt.restarts {
				if got := stepsOf(Settle(spec, st, t0.Add(tt.after), admitted)); got != "restart 0" {
					t.Errorf("steps %q", got)
				}
			}
		})
	}
}

func TestRestartOutcome(t *testing.T) {
	begin := func() (*Spec, *State) {
		spec, st := at(ContainerRunning, ContainerNone)
		spec.Containers[0].Restart = &RestartPolicy{Enabled: true, AttemptPeriod: time.Minute}
		Apply(spec, st, Exit{ExitCode: code(7), Time: t0.Add(time.Hour)}, t0.Add(time.Hour), admitted)
		Apply(spec, st, Begin{Step: Step{Kind: StepRestart}}, t0.Add(time.Hour), admitted)
		return spec, st
	}
	spec, st := begin()
	Apply(spec, st, Done{Step: Step{Kind: StepRestart}, Sight: &Sight{Status: ContainerRunning, StartedAt: t0.Add(time.Hour)}}, t0.Add(time.Hour), admitted)
	if c := st.Containers[0]; c.Known != ContainerRunning || c.Restarting || c.ExitCode != nil || !c.StartedAt.Equal(t0) || c.RestartCount != 1 {
		t.Errorf("after success: %+v", c)
	}
	// The same exit, seen again, is no exit.
	Apply(spec, st, Seen{Sight: Sight{Status: ContainerStopped, ExitCode: code(7), FinishedAt: t0.Add(time.Hour)}}, t0.Add(2*time.Hour), admitted)
	if c := st.Containers[0]; c.Known != ContainerRunning || c.RestartCount != 1 {
		t.Errorf("after an old exit: %+v", c)
	}
	// A container that ended before it was looked at has ended anew.
	spec, st = begin()
	ended := &Sight{Status: ContainerStopped, ExitCode: code(8), FinishedAt: t0.Add(time.Hour + time.Second)}
	Apply(spec, st, Done{Step: Step{Kind: StepRestart}, Sight: ended}, t0.Add(time.Hour), admitted)
	Apply(spec, st, Exit{ExitCode: code(8), Sight: ended, Time: ended.FinishedAt}, t0.Add(time.Hour), admitted)
	if c := st.Containers[0]; c.Known != ContainerStopped || deref(c.ExitCode) != 8 || st.Desired != Stopped {
		t.Errorf("after an end at once: %+v", c)
	}
	spec, st = begin()
	Apply(spec, st, Done{Step: Step{Kind: StepRestart}, Err: failure}, t0.Add(time.Hour), admitted)
	if c := st.Containers[0]; c.Known != ContainerStopped || c.RestartCount != 1 || deref(c.ExitCode) != 7 || st.Desired != Stopped {
		t.Errorf("after failure: %+v", c)
	}
	spec, st = begin()
	st.Containers[0].Applied = ContainerNone
	Apply(spec, st, Desire{Status: Stopped}, t0, admitted)
	if got := stepsOf(Settle(spec, st, t0, admitted)); got != "stop 0" {
		t.Errorf("stop before the restart began: %q", got)
	}
}

// TestSightings: what reconciliation and start-up see (docs/spec/02 sections 2.6 and
// 2.12).
func TestSightings(t *testing.T) {
	tests := []struct {
		name      string
		known     ContainerStatus
		sight     Sight
		want      ContainerStatus
		uncertain bool
	}{
		{"adopted", ContainerPulled, Sight{Status: ContainerCreated, RuntimeID: "x"}, ContainerCreated, false},
		{"adopted running", ContainerNone, Sight{Status: ContainerRunning, RuntimeID: "x"}, ContainerRunning, false},
		{"ended unseen", ContainerRunning, Sight{Status: ContainerStopped, ExitCode: code(0), FinishedAt: t0}, ContainerStopped, false},
		{"never back", ContainerRunning, Sight{Status: ContainerCreated}, ContainerRunning, false},
		{"back from the dead", ContainerStopped, Sight{Status: ContainerRunning}, ContainerStopped, true},
		{"dead is dead", ContainerStopped, Sight{Status: ContainerStopped}, ContainerStopped, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, st := at(tt.known, ContainerNone)
			Apply(spec, st, Seen{Sight: tt.sight}, t0, admitted)
			c := &st.Containers[0]
			if c.Known != tt.want || c.Uncertain != tt.uncertain || c.RuntimeID != tt.sight.RuntimeID {
				t.Errorf("container %+v", c)
			}
			if c.Known.IsRunning() && c.StartedAt.IsZero() {
				t.Error("runs and never started")
			}
		})
	}
}

func TestBackFromTheDeadIsStoppedEachTime(t *testing.T) {
	spec, st := at(ContainerRunning, ContainerNone)
	Apply(spec, st, Exit{ExitCode: code(0)}, t0, admitted)
	for range 2 {
		Apply(spec, st, Seen{Sight: Sight{Status: ContainerRunning}}, t0, admitted)
		m := Settle(spec, st, t0, admitted)
		if stepsOf(m) != "stop 0" || st.Known != Stopped {
			t.Fatalf("steps %q, task %v", stepsOf(m), st.Known)
		}
		Apply(spec, st, Begin{Step: m.Steps[0]}, t0, admitted)
		Apply(spec, st, Done{Step: m.Steps[0], Sight: &Sight{Status: ContainerStopped, ExitCode: code(137)}}, t0, admitted)
		if got := stepsOf(Settle(spec, st, t0, admitted)); got != "" {
			t.Fatalf("then %q", got)
		}
	}
}

func TestVanish(t *testing.T) {
	spec, st := at(ContainerRunning, ContainerNone)
	Apply(spec, st, Vanish{}, t0, admitted)
	c := &st.Containers[0]
	if c.Known != ContainerStopped || c.Error.Error() != "ContainerVanishedError: No container matching saved ID found" || c.ExitCode != nil {
		t.Errorf("container %+v", c)
	}
}

func TestHealth(t *testing.T) {
	spec, st := at(ContainerRunning, ContainerNone)
	Apply(spec, st, Probe{Health: HealthHealthy}, t0, admitted)
	if st.Containers[0].Health != HealthUnknown {
		t.Error("health of a container that ECS does not watch")
	}
	spec.Containers[0].HealthCheckType = "docker"
	since := t0.Add(time.Minute)
	Apply(spec, st, Probe{Health: HealthHealthy, Output: strings.Repeat("é", 2000)}, since, admitted)
	Apply(spec, st, Probe{Health: HealthHealthy}, since.Add(time.Minute), admitted)
	Apply(spec, st, Seen{Sight: Sight{Status: ContainerRunning, HasHealthCheck: true, HealthStarting: true}}, since, admitted)
	c := &st.Containers[0]
	if c.Health != HealthHealthy || !c.HealthSince.Equal(since) || len(c.HealthOutput) != 1024 || !c.HasHealthCheck {
		t.Errorf("container %v since %v, output of %d", c.Health, c.HealthSince, len(c.HealthOutput))
	}
}

// TestTaskStatus: docs/spec/02 sections 1.2 and 2.7.
func TestTaskStatus(t *testing.T) {
	tests := []struct {
		a, b  ContainerStatus
		pause bool // a is a network pause container
		want  Status
	}{
		{ContainerNone, ContainerRunning, false, None},
		{ContainerPulled, ContainerRunning, false, ManifestPulled},
		{ContainerCreated, ContainerRunning, false, Created},
		{ContainerRunning, ContainerRunning, false, Running},
		{ContainerRunning, ContainerRunning, true, Created},
		{ContainerResourcesProvisioned, ContainerRunning, true, Running},
		{ContainerStopped, ContainerStopped, false, Stopped},
	}
	for _, tt := range tests {
		spec := specOf("a", "b")
		if tt.pause {
			spec.Containers[0].Type = CNIPause
		}
		st := NewState(spec, Running, t0)
		known(&st, 0, tt.a)
		known(&st, 1, tt.b)
		Apply(spec, &st, Desire{}, t0, admitted)
		if st.Known != tt.want {
			t.Errorf("%v and %v make %v, want %v", tt.a, tt.b, st.Known, tt.want)
		}
	}
	// A non-essential end does not hide that the task runs; an essential one holds
	// the status until the others have stopped.
	spec := specOf("init", "app")
	spec.Containers[0].Essential = false
	st := NewState(spec, Running, t0)
	known(&st, 0, ContainerStopped)
	known(&st, 1, ContainerRunning)
	Apply(spec, &st, Desire{}, t0, admitted)
	if st.Known != Running || st.Desired != Running || !st.StartedAt.Equal(t0) {
		t.Errorf("task %v desired %v", st.Known, st.Desired)
	}
	// A task that was told to stop before it ran never looks as if it did.
	spec = specOf("a", "b")
	spec.Containers[1].Essential = false
	st = NewState(spec, Running, t0)
	known(&st, 0, ContainerRunning)
	Apply(spec, &st, Desire{Status: Stopped}, t0, admitted)
	Settle(spec, &st, t0, admitted)
	if st.Known != None {
		t.Errorf("task %v while it stops", st.Known)
	}
}

func TestInternalFailureIsTold(t *testing.T) {
	spec, st := at(ContainerPulled, ContainerCreated)
	spec.Containers[0].Type = NamespacePause
	Apply(spec, st, Done{Step: Step{Kind: StepCreate}, Err: &Error{Name: "CannotCreateContainerError", Message: "x"}}, t0, admitted)
	if st.TerminalReason != "CannotCreateContainerError: x" {
		t.Errorf("reason %q", st.TerminalReason)
	}
}

// TestPauseTakesContainersAlong: whichever end is heard of first, the pause container's is
// the reason, unless it was stopped after a container that was killed.
func TestPauseTakesContainersAlong(t *testing.T) {
	for _, c := range []struct {
		name      string
		app, code int
		after     time.Duration
		told      bool
	}{
		{"killed with it", 137, 137, 20 * time.Millisecond, true},
		{"killed before it", 137, 137, -20 * time.Millisecond, true},
		{"stopped after a kill", 137, 0, 20 * time.Millisecond, false},
		{"deaf to its stop", 137, 137, 30 * time.Second, false},
		{"killed after an end", 1, 137, 20 * time.Millisecond, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := &Spec{Containers: []Container{{Name: "app", Essential: true}, {Name: "hold", Type: NamespacePause, Essential: true}}}
			st := NewState(spec, Running, t0)
			st.Known = Running
			for i := range st.Containers {
				st.Containers[i].Known = ContainerRunning
			}
			Apply(spec, &st, Exit{Container: 0, ExitCode: &c.app, Time: t0}, t0, admitted)
			if st.Desired != Stopped {
				t.Fatalf("%+v", st)
			}
			at := t0.Add(c.after)
			st.Containers[1].Applied = ContainerStopped
			Apply(spec, &st, Done{Step: Step{Kind: StepStop, Container: 1}, Sight: &Sight{Status: ContainerStopped, ExitCode: &c.code, FinishedAt: at}}, t0.Add(time.Minute), admitted)
			if told := st.TerminalReason != ""; told != c.told || st.Known != Stopped {
				t.Errorf("reason %q, %s", st.TerminalReason, st.Known)
			}
		})
	}
}

func TestVolumeFailure(t *testing.T) {
	spec := specOf("a")
	spec.Volumes = []Volume{{Name: "v", Type: VolumeDocker, Docker: &DockerVolume{Scope: "task", Driver: "local"}}}
	st := NewState(spec, Running, t0)
	m := Plan(spec, &st, t0, admitted)
	Apply(spec, &st, Begin{Step: m.Steps[0]}, t0, admitted)
	Apply(spec, &st, Done{Step: m.Steps[0], Err: &Error{Message: ResourceReason("bad\n\tdriver")}}, t0, admitted)
	Settle(spec, &st, t0, admitted)
	if st.Known != Stopped || st.TerminalReason != "Bad driver" || st.Containers[0].Error != nil || st.ExecutionStoppedAt.IsZero() {
		t.Errorf("state %+v", st)
	}
}

func TestDesiredNeverGoesBack(t *testing.T) {
	spec, st := at(ContainerRunning, ContainerNone)
	Apply(spec, st, Desire{Status: Stopped}, t0, admitted)
	Apply(spec, st, Desire{Status: Running}, t0, admitted)
	if st.Desired != Stopped || st.Containers[0].Desired != ContainerStopped {
		t.Errorf("desired %v", st.Desired)
	}
}

// A container that has exited by the time of the inspect after its start is seen to run
// first, and then its exit counts as any other, with a restart policy too.
func TestExitDuringStart(t *testing.T) {
	code := 4
	sight := Sight{Status: ContainerStopped, ExitCode: &code, StartedAt: t0, FinishedAt: t0.Add(time.Millisecond)}
	for name, tt := range map[string]struct {
		policy *RestartPolicy
		known  ContainerStatus
		again  bool
	}{
		"no policy":           {nil, ContainerStopped, false},
		"within the period":   {&RestartPolicy{Enabled: true, AttemptPeriod: time.Minute}, ContainerStopped, false},
		"to be started again": {&RestartPolicy{Enabled: true}, ContainerRunning, true},
		"ignored exit code":   {&RestartPolicy{Enabled: true, IgnoredExitCodes: []int{4}}, ContainerStopped, false},
	} {
		t.Run(name, func(t *testing.T) {
			spec, st := at(ContainerCreated, ContainerRunning)
			spec.Containers[0].Restart = tt.policy
			st.Containers[0].Applied = ContainerRunning
			Apply(spec, st, Done{Step: Step{Kind: StepStart}, Sight: &sight}, t0, admitted)
			if c := &st.Containers[0]; c.Known != ContainerRunning || c.ExitCode == nil || *c.ExitCode != 4 {
				t.Fatalf("after the start: %+v", c)
			}
			Apply(spec, st, Exit{ExitCode: &code, Sight: &sight, Time: sight.FinishedAt}, t0, admitted)
			if c := &st.Containers[0]; c.Known != tt.known || c.Restarting != tt.again || !c.FinishedAt.Equal(sight.FinishedAt) {
				t.Errorf("after the exit: %+v", c)
			}
		})
	}
}
