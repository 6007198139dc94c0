package task

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A pause container with an image of its own runs as the task's proxy does.
func TestPauseOfItsOwn(t *testing.T) {
	with := Intake{Pause: Pause{Image: "pause:1", Custom: "mine:2"}}
	meshed := func(config string) *Spec {
		s := specOf("app", "envoy")
		s.NetworkMode, s.Proxy, s.PIDMode = "awsvpc", &Proxy{ContainerName: "envoy"}, "task"
		s.Containers[1].DockerConfig = config
		return s
	}
	got, reason := with.Accept(meshed(`{"User":"1337:1337","WorkingDir":"/"}`))
	if got == nil {
		t.Fatal(reason)
	}
	network, namespaces := got.Containers[got.Index(NetworkPauseName)], got.Containers[got.Index(NamespacePauseName)]
	if network.Image != "mine:2" || network.DockerConfig != `{"User":"1337:1337"}` || namespaces.Image != "pause:1" || namespaces.DockerConfig != "" {
		t.Errorf("network %+v, namespaces %+v", network, namespaces)
	}
	if _, reason := with.Accept(meshed("")); !strings.Contains(reason, "user needs to be specified for proxy container envoy") {
		t.Errorf("without a user: %q", reason)
	}
	// The pause image of the agent has no traffic.
	plain, reason := Intake{Pause: Pause{Image: "pause:1"}}.Accept(meshed(""))
	if plain == nil || plain.Containers[plain.Index(NetworkPauseName)].Image != "pause:1" {
		t.Errorf("%+v %s", plain, reason)
	}
}

func TestAcceptRejects(t *testing.T) {
	const arn = "arn:aws:ecs:eu-west-1:1:task/c/t"
	const cannot = "resource cannot be initialized for task " + arn + ": "
	const cycle = "Task dependencies cannot be resolved, taskArn: " + arn
	tests := []struct {
		name string
		edit func(*Spec)
		want string
	}{
		{"good", func(*Spec) {}, ""},
		{"no containers", func(s *Spec) { s.Containers = nil }, cannot + "the task has no containers"},
		{"nameless", func(s *Spec) { s.Containers[0].Name = "" }, cannot + "container 0 has no name"},
		{"same names", func(s *Spec) { s.Containers[0].Name = "b" }, cannot + "more than one container is named b"},
		{"unknown link", func(s *Spec) { s.Containers[0].Links = []string{"x:y"} }, cannot + "could not find container for link x:y"},
		{"bad link", func(s *Spec) { s.Containers[0].Links = []string{"b:y:z"} }, cannot + "invalid link format"},
		{"unknown volumesFrom", func(s *Spec) { s.Containers[0].VolumesFrom = []VolumeFrom{{SourceContainer: "x"}} },
			cannot + "could not find volume source container with name x"},
		{"autoprovision", func(s *Spec) {
			s.Volumes = []Volume{{Name: "v", Type: VolumeDocker, Docker: &DockerVolume{Scope: "task", Autoprovision: true}}}
		}, cannot + "volume [v] : task scoped volume could not be autoprovisioned"},
		{"cycle", func(s *Spec) {
			s.Containers[0].DependsOn = depends("b", DependsStart)
			s.Containers[1].DependsOn = depends("a", DependsStart)
		}, cycle},
		{"cycle through a link", func(s *Spec) {
			s.Containers[0].DependsOn = depends("b", DependsStart)
			s.Containers[1].Links = []string{"a"}
		}, cycle},
		{"itself", func(s *Spec) { s.Containers[0].DependsOn = depends("a", DependsStart) }, cycle},
		{"unknown container", func(s *Spec) { s.Containers[0].DependsOn = depends("x", DependsStart) }, cycle},
		{"unknown condition", func(s *Spec) { s.Containers[0].DependsOn = depends("b", "SOON") }, cycle},
		{"no health check", func(s *Spec) { s.Containers[0].DependsOn = depends("b", DependsHealthy) }, cycle},
		{"health check", func(s *Spec) {
			s.Containers[0].DependsOn = depends("b", DependsHealthy)
			s.Containers[1].HealthCheckType = "docker"
		}, ""},
		{"GPU of two", func(s *Spec) {
			s.Associations = []Association{{Name: "g", Type: "gpu", Containers: []string{"a", "b"}}}
		},
			cannot + "could not associate multiple containers to GPU g"},
		{"GPU of nobody", func(s *Spec) { s.Associations = []Association{{Name: "g", Type: "gpu", Containers: []string{"x"}}} },
			cannot + "could not find container with name x for associating GPU g"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := specOf("a", "b")
			tt.edit(spec)
			_, reason := Intake{GPUSupport: true}.Accept(spec)
			if reason != tt.want {
				t.Errorf("got  %q\nwant %q", reason, tt.want)
			}
		})
	}
}

func TestAcceptAddsEdges(t *testing.T) {
	spec := specOf("a", "b", "c")
	spec.Containers[0].Links = []string{"b:x", "b:y", "c"}
	spec.Containers[0].VolumesFrom = []VolumeFrom{{SourceContainer: "c"}}
	spec.Containers[0].DependsOn = depends("b", DependsHealthy)
	spec.Containers[1].HealthCheckType = "docker"
	spec.Associations = []Association{{Name: "g0", Type: "gpu", Containers: []string{"a"}}}
	given, _ := json.Marshal(spec)
	in := Intake{GPUSupport: true}
	got, reason := in.Accept(spec)
	if reason != "" {
		t.Fatal(reason)
	}
	want := []Dependency{{"b", DependsHealthy}, {"c", DependsCreate}, {"b", DependsStart}, {"c", DependsStart}}
	if diff := cmp.Diff(want, got.Containers[0].DependsOn); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"g0"}, got.Containers[0].GPUs); diff != "" {
		t.Error(diff)
	}
	if now, _ := json.Marshal(spec); string(now) != string(given) {
		t.Error("the given spec was changed")
	}
	again, _ := in.Accept(got)
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("accepting twice: %s", diff)
	}
}

// TestBornStopped: docs/spec/01 section 2.9.2, a stop for a task that is not known.
func TestBornStopped(t *testing.T) {
	for _, desired := range []Status{None, ManifestPulled, Stopped} {
		spec := specOf("a", "b")
		st := NewState(spec, desired, t0)
		Settle(spec, &st, t0, Rules{})
		if st.Known != Stopped || st.TerminalReason != "" || !st.ExecutionStoppedAt.Equal(t0) || !st.StoppedAt.Equal(t0) || st.Rejected() {
			t.Errorf("desired %v: %+v", desired, st)
		}
		for i := range st.Containers {
			if c := &st.Containers[i]; c.Known != ContainerStopped || c.ExitCode != nil || c.Error != nil {
				t.Errorf("container %+v", c)
			}
		}
	}
}

func TestRejectedState(t *testing.T) {
	spec := specOf("a")
	st := RejectedState(spec, "why", t0)
	if !st.Rejected() || st.Known != Stopped || st.Containers[0].Known != ContainerNone || !st.ExecutionStoppedAt.IsZero() {
		t.Errorf("state %+v", st)
	}
	if m := Settle(spec, &st, t0, admitted); len(m.Steps)+len(m.Waits) > 0 || st.Containers[0].Known != ContainerNone {
		t.Errorf("moves %+v, state %+v", m, st)
	}
}

// TestStateSurvivesJSON: what is saved and read again is the same task, but for
// steps that were under way.
func TestStateSurvivesJSON(t *testing.T) {
	spec, st := at(ContainerRunning, ContainerNone)
	st.Containers[0].ExitCode = code(0)
	st.Containers[0].Networks = []Network{{Name: "bridge", IPv4: "172.17.0.2"}}
	st.Containers[0].Uncertain = true
	saved, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	var read State
	if err := json.Unmarshal(saved, &read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*st, RestoreState(spec, read, t0)); diff != "" {
		t.Error(diff)
	}
	lost := RestoreState(spec, State{Desired: Stopped}, t0)
	if lost.Desired != Stopped || len(lost.Containers) != 1 || lost.Known != None {
		t.Errorf("lost state becomes %+v", lost)
	}
}
