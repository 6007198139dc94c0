package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ecsagent/agent/task"
)

func twoContainers() *task.Spec {
	return &task.Spec{ARN: "arn:t", Containers: []task.Container{
		{Name: "app", Image: "app:1", Essential: true}, {Name: "side", Image: "side@sha256:1"},
		{Name: "~internal~ecs~pause", Type: task.CNIPause},
	}}
}

func TestContainerChangesAreWhatIsNew(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for name, c := range map[string]struct {
		app, side task.ContainerState
		queued    map[string]task.ContainerStatus
		want      []string
	}{
		"nothing yet":                  {want: nil},
		"digest resolved":              {app: task.ContainerState{Known: task.ContainerManifestPulled, ImageDigest: digest}, want: []string{"app MANIFEST_PULLED"}},
		"digest not resolved":          {app: task.ContainerState{Known: task.ContainerManifestPulled}},
		"digest was in the reference":  {side: task.ContainerState{Known: task.ContainerManifestPulled, ImageDigest: digest}},
		"pulled is no news":            {app: task.ContainerState{Known: task.ContainerPulled, ImageDigest: digest}},
		"both run":                     {app: task.ContainerState{Known: task.ContainerRunning}, side: task.ContainerState{Known: task.ContainerRunning}, want: []string{"app RUNNING", "side RUNNING"}},
		"one was told already":         {app: task.ContainerState{Known: task.ContainerRunning}, side: task.ContainerState{Known: task.ContainerStopped}, queued: map[string]task.ContainerStatus{"app": task.ContainerRunning}, want: []string{"side STOPPED"}},
		"never goes back":              {app: task.ContainerState{Known: task.ContainerRunning}, queued: map[string]task.ContainerStatus{"app": task.ContainerStopped}},
		"stopped before it was pulled": {app: task.ContainerState{Known: task.ContainerStopped}, want: []string{"app STOPPED"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &task.Snapshot{Spec: twoContainers(), State: task.State{Containers: []task.ContainerState{c.app, c.side, {Known: task.ContainerStopped}}}}
			sent := task.Sent{Containers: c.queued}
			var got []string
			for _, change := range (filter{}).containerChanges(s, &sent) {
				got = append(got, change.name+" "+change.status.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if again := (filter{}).containerChanges(s, &sent); len(again) != 0 {
				t.Errorf("told twice: %+v", again)
			}
		})
	}
}

func TestTaskChangeDue(t *testing.T) {
	for _, c := range []struct {
		known  task.Status
		queued task.Status
		digest string
		want   bool
	}{
		{task.None, task.None, "", false},
		{task.ManifestPulled, task.None, "", false},
		{task.ManifestPulled, task.None, "sha256:1", true},
		{task.ManifestPulled, task.ManifestPulled, "sha256:1", false},
		{task.Created, task.ManifestPulled, "sha256:1", false},
		{task.Running, task.ManifestPulled, "", true},
		{task.Running, task.Running, "", false},
		{task.Stopped, task.Running, "", true},
		{task.Stopped, task.Stopped, "", false},
	} {
		s := &task.Snapshot{Spec: twoContainers(), State: task.State{Known: c.known, Containers: []task.ContainerState{{ImageDigest: c.digest}, {}, {}}}}
		if got := taskChangeDue(s, task.Sent{Task: c.queued}); got != c.want {
			t.Errorf("%v after %v with digest %q: %v", c.known, c.queued, c.digest, got)
		}
	}
}

func TestBindings(t *testing.T) {
	c := &task.Container{Ports: []task.PortMapping{
		{ContainerPort: 80, Protocol: task.TCP}, {Range: "8000-8002", Protocol: task.TCP}, {Range: "9000-9001", Protocol: task.UDP},
	}}
	bind := func(ip string, container, host uint16, p task.Protocol) task.PortBinding {
		return task.PortBinding{BindIP: ip, ContainerPort: container, HostPort: host, Protocol: p}
	}
	st := &task.ContainerState{Bindings: []task.PortBinding{
		bind("0.0.0.0", 80, 32768, task.TCP), bind("::", 80, 32768, task.TCP),
		bind("0.0.0.0", 8001, 40001, task.TCP), bind("0.0.0.0", 8000, 40000, task.TCP), bind("0.0.0.0", 8002, 40002, task.TCP),
		bind("::", 8000, 41000, task.TCP), bind("::", 8001, 41001, task.TCP), bind("::", 8002, 41002, task.TCP),
		bind("0.0.0.0", 9000, 50000, task.UDP), bind("0.0.0.0", 9001, 50007, task.UDP),
	}}
	want := []binding{
		{bindIP: "0.0.0.0", protocol: task.TCP, containerPort: 80, hostPort: 32768},
		{bindIP: "0.0.0.0", protocol: task.TCP, containerPorts: "8000-8002", hostPortsRun: "40000-40002"},
		{bindIP: "0.0.0.0", protocol: task.UDP, containerPort: 9000, hostPort: 50000},
		{bindIP: "0.0.0.0", protocol: task.UDP, containerPort: 9001, hostPort: 50007},
	}
	if diff := cmp.Diff(want, filter{excludeIPv6: true}.bindings(c, st.Bindings), cmp.AllowUnexported(binding{})); diff != "" {
		t.Errorf("bindings (-want +got):\n%s", diff)
	}
	if got := (filter{excludeIPv4: true}).bindings(c, st.Bindings); len(got) != 2 || got[1].hostPortsRun != "41000-41002" {
		t.Errorf("IPv6 bindings %+v", got)
	}
}

func TestTooManyBindingsAreCut(t *testing.T) {
	c := &task.Container{Ports: []task.PortMapping{{Range: "1000-1200", Protocol: task.TCP}}}
	st := &task.ContainerState{}
	for i := uint16(0); i <= 200; i++ {
		st.Bindings = append(st.Bindings, task.PortBinding{ContainerPort: 1000 + i, HostPort: 3000 + 2*i, Protocol: task.TCP})
	}
	if got := len(filter{}.bindings(c, st.Bindings)); got != maxBindings {
		t.Errorf("%d bindings, want %d", got, maxBindings)
	}
}

func TestCutKeepsCharactersWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		limit := rapid.IntRange(0, 20).Draw(t, "limit")
		got := cut(s, limit)
		if len(got) > limit || !strings.HasPrefix(s, got) {
			t.Fatalf("cut(%q, %d) = %q", s, limit, got)
		}
		if rest := s[len(got):]; len(got) < limit-3 && rest != "" {
			t.Fatalf("cut(%q, %d) = %q lost more than one character", s, limit, got)
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", strings.ToValidUTF8(got, "")) && strings.ToValidUTF8(s, "") == s {
			t.Fatalf("cut(%q, %d) = %q splits a character", s, limit, got)
		}
	})
}

// TestAgentChanges: exec agents go back and forth, and of what was not sent yet the latest
// counts.
func TestAgentChanges(t *testing.T) {
	snapshot := func(status task.AgentStatus, reason string) *task.Snapshot {
		return &task.Snapshot{Spec: twoContainers(), State: task.State{Containers: []task.ContainerState{
			{ExecAgent: &task.ExecAgent{Status: status, Reason: reason}}, {}, {},
		}}}
	}
	var sent task.Sent
	for _, step := range []struct {
		status task.AgentStatus
		reason string
		want   []agentChange
	}{
		{task.AgentNone, "", nil},
		{task.AgentRunning, "started", []agentChange{{"app", task.AgentReport{Status: task.AgentRunning, Reason: "started"}}}},
		{task.AgentRunning, "started", nil},
		{task.AgentStopped, "exited", []agentChange{{"app", task.AgentReport{Status: task.AgentStopped, Reason: "exited"}}}},
		{task.AgentRunning, "restarted", []agentChange{{"app", task.AgentReport{Status: task.AgentRunning, Reason: "restarted"}}}},
	} {
		var n news
		n.addAgents(snapshot(step.status, step.reason), &sent)
		if diff := cmp.Diff(step.want, n.agents, cmp.AllowUnexported(agentChange{})); diff != "" {
			t.Errorf("%v %q (-want +got):\n%s", step.status, step.reason, diff)
		}
		n.addAgents(snapshot(task.AgentStopped, "later"), &sent)
		if len(n.agents) != 1 || n.agents[0].Reason != "later" {
			t.Errorf("after another change %+v", n.agents)
		}
		sent = task.Sent{Agents: map[string]task.AgentReport{"app": {Status: step.status, Reason: step.reason}}}
		raised := raise(sent, change{news: n})
		if raised.Agents["app"].Reason != "later" || sent.Agents["app"].Reason != step.reason {
			t.Errorf("raised %+v from %+v", raised, sent)
		}
		in := wireChange("c", "t", change{news: n})
		if len(in.ManagedAgents) != 1 || in.ManagedAgents[0].ManagedAgentName != "ExecuteCommandAgent" || in.ManagedAgents[0].ContainerName != "app" ||
			in.ManagedAgents[0].Status != "STOPPED" || in.ManagedAgents[0].Reason != "later" {
			t.Errorf("on the wire %+v", in.ManagedAgents)
		}
	}
}

// A container of a Service Connect task in mode bridge has the ports of its pause container.
func TestBindingsOfPause(t *testing.T) {
	spec := &task.Spec{NetworkMode: "bridge", Connect: &task.Connect{Container: "proxy"}, Containers: []task.Container{
		{Name: "app", Ports: []task.PortMapping{{ContainerPort: 80, Protocol: task.TCP}}}, {Name: "~internal~ecs~pause-app", Type: task.CNIPause},
	}}
	st := task.State{Containers: []task.ContainerState{
		{Known: task.ContainerRunning}, {Known: task.ContainerResourcesProvisioned, Bindings: []task.PortBinding{{BindIP: "0.0.0.0", ContainerPort: 80, HostPort: 32768, Protocol: task.TCP}}},
	}}
	got := filter{}.containerChanges(st.Snapshot(spec), &task.Sent{})
	if len(got) != 1 || len(got[0].bindings) != 1 || got[0].bindings[0].hostPort != 32768 {
		t.Errorf("changes %+v", got)
	}
	spec.NetworkMode = "awsvpc"
	if got := (filter{}).containerChanges(st.Snapshot(spec), &task.Sent{}); len(got[0].bindings) != 0 {
		t.Errorf("in a network of its own: %+v", got)
	}
}
