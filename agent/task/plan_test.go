package task

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var t0 = time.Unix(1_700_000_000, 0).UTC()

var admitted = Rules{Admitted: true}

// steady is a spec with containers of these names, all essential.
func specOf(names ...string) *Spec {
	s := &Spec{ARN: "arn:aws:ecs:eu-west-1:1:task/c/t", NetworkMode: "bridge"}
	for _, n := range names {
		s.Containers = append(s.Containers, Container{Name: n, Image: n + ":1", Essential: true})
	}
	return s
}

func depends(on string, c Condition) []Dependency { return []Dependency{{Container: on, Condition: c}} }

func known(st *State, i int, k ContainerStatus) {
	st.Containers[i].Known = k
	if k.IsRunning() {
		st.Containers[i].StartedAt = t0
	}
}

func code(n int) *int { return &n }

func stepsOf(m Moves) string {
	var all []string
	for _, s := range m.Steps {
		all = append(all, fmt.Sprintf("%v %d", s.Kind, s.Container))
	}
	return strings.Join(all, ", ")
}

func waitsOf(m Moves) string {
	var all []string
	for _, w := range m.Waits {
		all = append(all, fmt.Sprintf("%d %s", w.For, w.Condition))
	}
	return strings.Join(all, ", ")
}

// TestConditions: docs/spec/02 section 3.2, and what makes a condition impossible
// (section 3.7 and chapter 14, numbers 7 and 8).
func TestConditions(t *testing.T) {
	const (
		met     = "create 1"
		unmet   = "wait"
		failed  = "failed to resolve container ordering dependency [%s] for target [app(app:1) (PULLED->RUNNING)] "
		success = failed + "as dependency did not exit successfully."
		never   = failed + "because dependency will never start"
	)
	tests := []struct {
		condition Condition
		dep       func(*ContainerState)
		want      string
	}{
		{DependsCreate, func(c *ContainerState) { c.Known = ContainerPulled }, unmet},
		{DependsCreate, func(c *ContainerState) { c.Known = ContainerCreated }, met},
		{DependsCreate, func(c *ContainerState) { c.Known, c.StartedAt = ContainerStopped, t0 }, met},
		{DependsStart, func(c *ContainerState) { c.Known = ContainerCreated }, unmet},
		{DependsStart, func(c *ContainerState) { c.Known, c.StartedAt = ContainerRunning, t0 }, met},
		{DependsStart, func(c *ContainerState) { c.Known, c.StartedAt = ContainerStopped, t0 }, met},
		{DependsStart, func(c *ContainerState) { c.Known = ContainerStopped }, fmt.Sprintf(never, "db(db:1) (STOPPED->RUNNING)")},
		{DependsStart, func(c *ContainerState) { c.Known, c.Desired = ContainerCreated, ContainerStopped },
			fmt.Sprintf(never, "db(db:1) (CREATED->STOPPED)")},
		{DependsStart, func(c *ContainerState) {
			c.Known, c.Desired, c.Applied = ContainerCreated, ContainerStopped, ContainerRunning
		}, unmet},
		{DependsComplete, func(c *ContainerState) { c.Known, c.StartedAt = ContainerRunning, t0 }, unmet},
		{DependsComplete, func(c *ContainerState) { c.Known, c.StartedAt, c.ExitCode = ContainerStopped, t0, code(3) }, met},
		{DependsComplete, func(c *ContainerState) { c.Known, c.StartedAt = ContainerStopped, t0 },
			fmt.Sprintf(failed, "db(db:1) (STOPPED->RUNNING)") + "because dependency stopped without an exit code"},
		// A container that was given up has exit code 143 but never ran.
		{DependsComplete, func(c *ContainerState) { c.Known, c.ExitCode = ContainerStopped, code(143) },
			fmt.Sprintf(never, "db(db:1) (STOPPED->RUNNING) - Exit: 143")},
		{DependsSuccess, func(c *ContainerState) { c.Known, c.StartedAt, c.ExitCode = ContainerStopped, t0, code(0) }, met},
		{DependsSuccess, func(c *ContainerState) { c.Known, c.StartedAt, c.ExitCode = ContainerStopped, t0, code(1) },
			fmt.Sprintf(success, "db(db:1) (STOPPED->RUNNING) - Exit: 1")},
		{DependsSuccess, func(c *ContainerState) { c.Known, c.StartedAt = ContainerStopped, t0 },
			fmt.Sprintf(success, "db(db:1) (STOPPED->RUNNING)")},
		{DependsHealthy, func(c *ContainerState) { c.Known, c.StartedAt = ContainerRunning, t0 }, unmet},
		{DependsHealthy, func(c *ContainerState) { c.Known, c.StartedAt, c.Health = ContainerRunning, t0, HealthUnhealthy }, unmet},
		{DependsHealthy, func(c *ContainerState) { c.Known, c.StartedAt, c.Health = ContainerRunning, t0, HealthHealthy }, met},
		{DependsHealthy, func(c *ContainerState) {
			c.Known, c.StartedAt, c.Health, c.ExitCode = ContainerStopped, t0, HealthHealthy, code(0)
		}, fmt.Sprintf(failed, "db(db:1) (STOPPED->RUNNING) - Exit: 0") + "because dependency stopped and will never be healthy"},
		{"SOMETIMES", func(c *ContainerState) { c.Known, c.StartedAt = ContainerRunning, t0 }, unmet},
	}
	for _, tt := range tests {
		t.Run(string(tt.condition)+" "+tt.want, func(t *testing.T) {
			spec := specOf("db", "app")
			spec.Containers[0].HealthCheckType = "docker"
			spec.Containers[0].Essential = false
			spec.Containers[1].DependsOn = depends("db", tt.condition)
			st := NewState(spec, Running, t0)
			tt.dep(&st.Containers[0])
			known(&st, 1, ContainerPulled)
			m := Plan(spec, &st, t0, admitted)
			got := unmet
			for _, s := range m.Steps {
				if s.Container == 1 {
					got = fmt.Sprintf("%v 1", s.Kind)
				}
			}
			for _, e := range m.Marks {
				if r, ok := e.(Refuse); ok && r.Container == 1 {
					got = strings.TrimPrefix(r.Err.Message, "dependency graph: ")
					if r.Err.Name != "CannotStartContainerError" {
						t.Errorf("error is named %s", r.Err.Name)
					}
				}
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestMissingDependency(t *testing.T) {
	spec := specOf("app")
	spec.Containers[0].DependsOn = depends("ghost", DependsStart)
	st := NewState(spec, Running, t0)
	known(&st, 0, ContainerManifestPulled)
	Settle(spec, &st, t0, admitted)
	c := &st.Containers[0]
	want := "CannotStartContainerError: dependency graph: container ordering dependency [<nil>] for target [app(app:1) (MANIFEST_PULLED->RUNNING)] does not exist."
	if c.Error == nil || c.Error.Error() != want {
		t.Errorf("got  %v\nwant %s", c.Error, want)
	}
	if st.Known != Stopped || c.ExitCode == nil || *c.ExitCode != 143 {
		t.Errorf("task %v, container %+v", st.Known, c)
	}
}

// TestStartTimeout: A6 of docs/spec/02 chapter 13.
func TestStartTimeout(t *testing.T) {
	for _, tt := range []struct {
		condition Condition
		applies   bool
	}{{DependsHealthy, true}, {DependsComplete, true}, {DependsSuccess, true}, {DependsStart, false}} {
		t.Run(string(tt.condition), func(t *testing.T) {
			spec := specOf("db", "app")
			spec.Containers[0].HealthCheckType = "docker"
			spec.Containers[0].StartTimeout = 10 * time.Second
			spec.Containers[1].DependsOn = depends("db", tt.condition)
			st := NewState(spec, Running, t0)
			known(&st, 0, ContainerRunning)
			known(&st, 1, ContainerManifestPulled)
			early := t0.Add(9 * time.Second)
			m := Plan(spec, &st, early, admitted)
			if tt.applies != m.Wake.Equal(t0.Add(10*time.Second)) {
				t.Fatalf("wake %v", m.Wake)
			}
			if !tt.applies {
				return
			}
			if len(m.Marks) > 0 || waitsOf(m) != fmt.Sprintf("%d %s", WaitDependency, tt.condition) {
				t.Fatalf("before the time: marks %v, waits %v", m.Marks, m.Waits)
			}
			Settle(spec, &st, t0.Add(10*time.Second), admitted)
			want := "CannotStartContainerError: dependency graph: container ordering dependency [db(db:1) (RUNNING->RUNNING)] " +
				"for target [app(app:1) (MANIFEST_PULLED->RUNNING)] has timed out."
			if err := st.Containers[1].Error; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if st.Desired != Stopped || *st.Containers[1].ExitCode != 143 {
				t.Errorf("state %+v", st)
			}
		})
	}
}

// TestFailureTravels: a chain of dependents hears of a failure, each with the text
// that shows its own dependency.
func TestFailureTravels(t *testing.T) {
	spec := specOf("cfg", "app", "web")
	for i := range spec.Containers {
		spec.Containers[i].Essential = false
	}
	spec.Containers[1].DependsOn = depends("cfg", DependsStart)
	spec.Containers[2].DependsOn = depends("app", DependsStart)
	st := NewState(spec, Running, t0)
	for i := range st.Containers {
		known(&st, i, ContainerManifestPulled)
	}
	known(&st, 0, ContainerCreated)
	st.Containers[0].Applied = ContainerRunning
	Apply(spec, &st, Done{Step: Step{Kind: StepStart}, Err: &Error{Name: "CannotStartContainerError", Message: "no such file"}}, t0, admitted)
	Settle(spec, &st, t0, admitted)
	for i, want := range []string{
		"CannotStartContainerError: no such file",
		"CannotStartContainerError: dependency graph: failed to resolve container ordering dependency [cfg(cfg:1) (CREATED->STOPPED)] " +
			"for target [app(app:1) (MANIFEST_PULLED->RUNNING)] because dependency will never start",
		"CannotStartContainerError: dependency graph: failed to resolve container ordering dependency [app(app:1) (MANIFEST_PULLED->STOPPED) - Exit: 143] " +
			"for target [web(web:1) (MANIFEST_PULLED->RUNNING)] because dependency will never start",
	} {
		if err := st.Containers[i].Error; err == nil || err.Error() != want {
			t.Errorf("container %d:\ngot  %v\nwant %s", i, err, want)
		}
	}
	if st.Known != Stopped || st.Desired != Stopped {
		t.Errorf("task %v desired %v", st.Known, st.Desired)
	}
}

func TestPlanForward(t *testing.T) {
	tests := map[string]struct {
		edit         func(*Spec, *State)
		rules        Rules
		steps, waits string
	}{
		"manifests are resolved at once": {func(s *Spec, st *State) {
			s.Containers[1].DependsOn = depends("a", DependsStart)
		}, admitted, "manifest 0, manifest 1", ""},
		"nothing without resources": {func(*Spec, *State) {}, Rules{}, "", "1 "},
		"pull waits for dependencies": {func(s *Spec, st *State) {
			s.Containers[1].DependsOn = depends("a", DependsStart)
			known(st, 1, ContainerManifestPulled)
		}, admitted, "manifest 0", "2 START"},
		"pull upfront": {func(s *Spec, st *State) {
			s.Containers[1].DependsOn = depends("a", DependsStart)
			known(st, 1, ContainerManifestPulled)
		}, Rules{Admitted: true, PullUpfront: true}, "manifest 0, pull 1", ""},
		"create waits though pulled upfront": {func(s *Spec, st *State) {
			s.Containers[1].DependsOn = depends("a", DependsStart)
			known(st, 1, ContainerPulled)
		}, Rules{Admitted: true, PullUpfront: true}, "manifest 0", "2 START"},
		"one step at a time": {func(s *Spec, st *State) {
			st.Containers[0].Applied = ContainerManifestPulled
		}, admitted, "manifest 1", ""},
		"credentials": {func(s *Spec, st *State) {
			s.Containers[0].RegistryAuth = &RegistryAuth{Type: "ecr", ECR: &ECRAuth{UseExecutionRole: true}}
		}, Rules{Admitted: true, NoExecutionCredentials: true}, "manifest 1", "5 "},
		"pause containers go one further": {func(s *Spec, st *State) {
			s.Containers[0].Type = CNIPause
			known(st, 0, ContainerRunning)
			known(st, 1, ContainerRunning)
			st.Containers[0].Desired = ContainerResourcesProvisioned
		}, admitted, "provision 0", ""},
		"running": {func(s *Spec, st *State) {
			known(st, 0, ContainerRunning)
			known(st, 1, ContainerRunning)
		}, admitted, "", ""},
		"volumes come before pulls": {func(s *Spec, st *State) {
			s.Volumes = []Volume{{Name: "v", Type: VolumeHost, Host: &HostVolume{}}, {Name: "h", Type: VolumeHost, Host: &HostVolume{SourcePath: "/h"}}, {Name: "unused", Type: VolumeHost, Host: &HostVolume{}}}
			st.Volumes = make([]VolumeState, 3)
			s.Containers[0].MountPoints = []MountPoint{{SourceVolume: "v"}}
			s.Containers[1].MountPoints = []MountPoint{{SourceVolume: "h"}}
			known(st, 0, ContainerManifestPulled)
			known(st, 1, ContainerManifestPulled)
		}, admitted, "volume -1, pull 1", "4 "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			spec := specOf("a", "b")
			st := NewState(spec, Running, t0)
			tt.edit(spec, &st)
			m := Plan(spec, &st, t0, tt.rules)
			if got := stepsOf(m); got != tt.steps {
				t.Errorf("steps %q, want %q", got, tt.steps)
			}
			if got := waitsOf(m); got != tt.waits {
				t.Errorf("waits %q, want %q", got, tt.waits)
			}
		})
	}
}

func TestStopOrder(t *testing.T) {
	spec := specOf("db", "app", "web")
	spec.Containers[1].DependsOn = depends("db", DependsStart)
	spec.Containers[2].DependsOn = depends("app", DependsHealthy)
	st := NewState(spec, Running, t0)
	for i := range st.Containers {
		known(&st, i, ContainerRunning)
	}
	Apply(spec, &st, Desire{Status: Stopped}, t0, admitted)
	for _, want := range []int{2, 1, 0} {
		m := Settle(spec, &st, t0, admitted)
		if got := stepsOf(m); got != fmt.Sprintf("stop %d", want) {
			t.Fatalf("steps %q, want the stop of %d", got, want)
		}
		if want == 2 {
			if text := m.Waits[0].Text(spec); text != "dependency graph: target db needs other containers stopped before it can stop: [app]" {
				t.Errorf("wait reads %q", text)
			}
		}
		Apply(spec, &st, Begin{Step: m.Steps[0]}, t0, admitted)
		if again := stepsOf(Settle(spec, &st, t0, admitted)); again != "" {
			t.Fatalf("while one stops: %q", again)
		}
		Apply(spec, &st, Done{Step: m.Steps[0], Sight: &Sight{Status: ContainerStopped, ExitCode: code(143)}}, t0, admitted)
	}
	if st.Known != Stopped {
		t.Errorf("task is %v", st.Known)
	}
}

// TestStopBeforeRunning: docs/spec/02 section 2.3 and the last recipe but one of 6.5.
func TestStopBeforeRunning(t *testing.T) {
	for _, tt := range []struct {
		known, applied ContainerStatus
		waits          bool
	}{
		{ContainerNone, ContainerNone, false},
		{ContainerNone, ContainerManifestPulled, false},
		{ContainerManifestPulled, ContainerPulled, false},
		{ContainerPulled, ContainerCreated, false},
		{ContainerCreated, ContainerNone, false},
		{ContainerCreated, ContainerRunning, true},
	} {
		t.Run(fmt.Sprintf("%v to %v", tt.known, tt.applied), func(t *testing.T) {
			spec := specOf("a")
			st := NewState(spec, Running, t0)
			known(&st, 0, tt.known)
			st.Containers[0].Applied = tt.applied
			Apply(spec, &st, Desire{Status: Stopped}, t0, admitted)
			m := Settle(spec, &st, t0, admitted)
			if len(m.Steps) != 0 {
				t.Errorf("steps %v", stepsOf(m))
			}
			if (st.Known == Stopped) == tt.waits {
				t.Errorf("task is %v", st.Known)
			}
			if c := st.Containers[0]; c.Error != nil || c.ExitCode != nil {
				t.Errorf("container has error %v, exit code %v", c.Error, c.ExitCode)
			}
			// The answer of a step that was given up only tells what to clean up.
			if tt.applied == ContainerCreated {
				Apply(spec, &st, Done{Step: Step{Kind: StepCreate}, RuntimeID: "late"}, t0, admitted)
				if c := st.Containers[0]; c.RuntimeID != "late" || c.Known != ContainerStopped {
					t.Errorf("after the late answer: %+v", c)
				}
			}
		})
	}
}

func TestNothingCanMove(t *testing.T) {
	t.Run("stopped, nothing to wait for", func(t *testing.T) {
		spec := &Spec{ARN: "a"}
		st := NewState(spec, Stopped, t0)
		Settle(spec, &st, t0, Rules{})
		if st.Known != Stopped || st.TerminalReason != "TaskStateError: Agent could not progress task's state to stopped" {
			t.Errorf("state %+v", st)
		}
	})
	t.Run("created only", func(t *testing.T) {
		spec := specOf("a")
		st := NewState(spec, Created, t0)
		known(&st, 0, ContainerCreated)
		Settle(spec, &st, t0, admitted)
		if st.Known != Stopped {
			t.Errorf("state %+v", st)
		}
	})
	t.Run("containers that wait for each other are stopped all the same", func(t *testing.T) {
		spec := specOf("a", "b")
		spec.Containers[0].DependsOn = depends("b", DependsStart)
		spec.Containers[1].DependsOn = depends("a", DependsStart)
		st := NewState(spec, Stopped, t0)
		known(&st, 0, ContainerRunning)
		known(&st, 1, ContainerRunning)
		if got := stepsOf(Settle(spec, &st, t0, admitted)); got != "stop 0, stop 1" {
			t.Errorf("steps %q", got)
		}
	})
}

// BenchmarkPlan1000 is what deciding costs for 1,000 tasks of three containers that
// run and have nothing to do.
func BenchmarkPlan1000(b *testing.B) {
	spec := &Spec{ARN: "arn:aws:ecs:eu-west-1:111122223333:task/demo/one"}
	for _, name := range []string{"db", "app", "proxy"} {
		spec.Containers = append(spec.Containers, Container{Name: name, Image: name, Essential: true})
	}
	spec.Containers[1].DependsOn = []Dependency{{Container: "db", Condition: DependsStart}}
	st := NewState(spec, Running, t0)
	st.Known = Running
	for i := range st.Containers {
		st.Containers[i].Known, st.Containers[i].Desired = ContainerRunning, ContainerRunning
	}
	fresh := NewState(spec, Running, t0)
	for name, st := range map[string]*State{"resting": &st, "fresh": &fresh} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for range 1000 {
					Settle(spec, st, t0, Rules{Admitted: true})
				}
			}
		})
	}
}
