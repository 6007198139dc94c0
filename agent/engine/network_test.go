package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// networks is a Network that writes down what it is asked for, between the calls of
// Docker.
type networks struct {
	mu      sync.Mutex
	calls   []string
	setUp   error
	refused error
	docker  func() []string
}

func (n *networks) Check(*task.Spec) error { return n.refused }

func (n *networks) call(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, fmt.Sprintf("%s after %d", text, len(n.docker())))
}

func (n *networks) SetUp(_ context.Context, _ *task.Spec, _ string, pid int) (string, error) {
	n.call(fmt.Sprint("set up ", pid))
	return "169.254.172.2", n.setUp
}

func (n *networks) TearDown(_ context.Context, _ *task.Spec, _ string, pid int) error {
	n.call(fmt.Sprint("tear down ", pid))
	return nil
}

func (n *networks) Release(context.Context, *task.Spec, string) error {
	n.call("release")
	return nil
}

func (n *networks) seen() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var words []string
	for _, c := range n.calls {
		words = append(words, strings.Split(c, " after")[0])
	}
	return strings.Join(words, ", ")
}

func withNetwork(t *testing.T, n *networks, edit func(*Options), test func(*rig, *task.Spec)) {
	t.Helper()
	in(t, func(o *Options) {
		o.Pause, o.Network = task.Pause{Image: "pause:1"}, n
		if edit != nil {
			edit(o)
		}
	}, func(r *rig) {
		n.docker = r.docker.Calls
		spec := specOf("one", "app", "side")
		spec.NetworkMode, spec.ENIs = "awsvpc", []task.ENI{{EC2ID: "eni-1", MAC: "06:00:00:00:00:01"}}
		test(r, spec)
	})
}

// TestNetworkFirstAndLast: no container of the task is created without its network, and
// the network goes before the container that holds it stops.
func TestNetworkFirstAndLast(t *testing.T) {
	n := &networks{}
	withNetwork(t, n, nil, func(r *rig, spec *task.Spec) {
		r.run(spec)
		st := r.want(spec, task.Running)
		if c := st.Containers[2]; c.LocalAddress != "169.254.172.2" || c.Known != task.ContainerResourcesProvisioned {
			t.Errorf("pause container %+v", c)
		}
		r.stopTask(spec)
		r.want(spec, task.Stopped)
		if got := n.seen(); got != fmt.Sprintf("set up %d, tear down %d, release", enginetest.Pid, enginetest.Pid) {
			t.Errorf("network: %s", got)
		}
		at := func(call string) int {
			for i, c := range r.docker.Calls() {
				if c == call {
					return i
				}
			}
			t.Fatalf("no %q in %q", call, r.docker.Calls())
			return -1
		}
		var up, down, released int
		_, _ = fmt.Sscanf(n.calls[0], fmt.Sprintf("set up %d after %%d", enginetest.Pid), &up)
		_, _ = fmt.Sscanf(n.calls[1], fmt.Sprintf("tear down %d after %%d", enginetest.Pid), &down)
		_, _ = fmt.Sscanf(n.calls[2], "release after %d", &released)
		pause := task.NetworkPauseName
		if up <= at("start "+pause) || up > at("create app") || up > at("create side") {
			t.Errorf("set up at %d of %q", up, r.docker.Calls())
		}
		if down <= at("stop app") || down > at("stop "+pause) || released <= at("stop "+pause) {
			t.Errorf("tear down at %d, release at %d of %q", down, released, r.docker.Calls())
		}
	})
}

// A task that was rebuilt from its containers does not know its interface: its network
// goes with its namespace, and nothing is asked of plugins that nobody could answer.
func TestNetworkOfARebuiltTask(t *testing.T) {
	n := &networks{}
	in(t, func(o *Options) {
		o.Pause, o.Network, o.Leftovers = task.Pause{Image: "pause:1"}, n, Leftovers{Ours: ofDemo, Adopt: true}
	}, func(r *rig) {
		n.docker = r.docker.Calls
		r.stop()
		r.docker.Put(relic("p", "one", task.NetworkPauseName, task.ContainerRunning))
		r.docker.Put(relic("a", "one", "app", task.ContainerRunning))
		r.start()
		r.want(specOf("one"), task.Running)
		r.stopTask(specOf("one"))
		r.want(specOf("one"), task.Stopped)
		var stops []string
		for _, c := range r.docker.Calls() {
			if strings.HasPrefix(c, "stop ") {
				stops = append(stops, c)
			}
		}
		if got := strings.Join(stops, ", "); got != "stop app, stop "+task.NetworkPauseName {
			t.Errorf("order: %s", got)
		}
		r.Sent(arnOf("one"), task.Sent{Task: task.Stopped})
		r.pass(4 * time.Hour)
		if r.Snapshot(arnOf("one")) != nil || len(r.docker.Containers()) != 0 {
			t.Errorf("the task was not cleaned up: %v", r.docker.Containers())
		}
		if got := n.seen(); got != "" {
			t.Errorf("network: %s", got)
		}
	})
}

func TestNetworkFails(t *testing.T) {
	n := &networks{setUp: errors.New("add network failed: no such network interface with MAC 06:00:00:00:00:01")}
	withNetwork(t, n, nil, func(r *rig, spec *task.Spec) {
		r.run(spec)
		r.pass(time.Minute)
		st := r.want(spec, task.Stopped)
		want := "ContainerNetworkingError: container resource provisioning: failed to setup network namespace: " + n.setUp.Error()
		if st.TerminalReason != want {
			t.Errorf("reason %q", st.TerminalReason)
		}
		for _, c := range r.docker.Calls() {
			if strings.HasPrefix(c, "create app") {
				t.Error("a container was created without its network")
			}
		}
		if got := n.seen(); !strings.Contains(got, "tear down") || !strings.HasSuffix(got, "release") {
			t.Errorf("network: %s", got)
		}
	})
}

// TestNetworkPauseDies: the task stops with the pause as the reason, and what the network
// has is given back with the task's clean-up.
func TestNetworkPauseDies(t *testing.T) {
	n := &networks{}
	withNetwork(t, n, func(o *Options) { o.CleanupWait = time.Hour }, func(r *rig, spec *task.Spec) {
		r.run(spec)
		r.want(spec, task.Running)
		r.docker.Exit(r.idOf(spec, 2), 137)
		r.pass(time.Minute)
		if st := r.want(spec, task.Stopped); !strings.Contains(st.TerminalReason, task.NetworkPauseName) {
			t.Errorf("reason %q", st.TerminalReason)
		}
		if got := n.seen(); got != fmt.Sprintf("set up %d, tear down 0, release", enginetest.Pid) {
			t.Errorf("network after its end: %s", got)
		}
		r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
		r.pass(2 * time.Hour)
		if got := n.seen(); !strings.HasSuffix(got, "tear down 0, release") {
			t.Errorf("network: %s", got)
		}
	})
}

func TestNetworkRefused(t *testing.T) {
	for want, edit := range map[string]func(*networks, *task.Spec){
		"no luck": func(n *networks, _ *task.Spec) { n.refused = errors.New("no luck") },
		`the task came with a proxy configuration, but its network mode is host; want "awsvpc"`: func(_ *networks, s *task.Spec) {
			s.NetworkMode, s.ENIs, s.Proxy = "host", nil, &task.Proxy{}
		},
		"the task came with an elastic network interface, but its network mode is bridge": func(_ *networks, s *task.Spec) { s.NetworkMode = "bridge" },
	} {
		n := &networks{}
		withNetwork(t, n, nil, func(r *rig, spec *task.Spec) {
			edit(n, spec)
			r.run(spec)
			if st := r.want(spec, task.Stopped); !strings.HasSuffix(st.TerminalReason, want) || !st.Rejected() {
				t.Errorf("reason %q", st.TerminalReason)
			}
		})
	}
}

// TestStarted: what a running container has to be given is given before it counts as
// running, each time it starts, and to no pause container; without it the container ends.
func TestStarted(t *testing.T) {
	var mu sync.Mutex
	var told []string
	var fail error
	n := &networks{}
	edit := func(o *Options) {
		o.Started = func(_ context.Context, s *task.Snapshot, c *runtime.Container) error {
			mu.Lock()
			defer mu.Unlock()
			for i := range s.Containers {
				if name := s.Containers[i].Name; c.Labels[runtime.LabelContainerName] == name {
					told = append(told, fmt.Sprint(name, " ", s.State.Containers[i].Known))
				}
			}
			return fail
		}
	}
	withNetwork(t, n, edit, func(r *rig, spec *task.Spec) {
		spec.Containers[1].DependsOn = []task.Dependency{{Container: "app", Condition: task.DependsStart}}
		r.run(spec)
		r.want(spec, task.Running)
		if got := strings.Join(told, ", "); got != "app CREATED, side CREATED" {
			t.Errorf("told of %s", got)
		}
		r.stopTask(spec)
		r.want(spec, task.Stopped)
	})
	one := func(spec *task.Spec) { spec.Containers = spec.Containers[:1] }
	fail = errors.New("startContainer: cni plugin invocation failed: HNS is busy")
	withNetwork(t, n, edit, func(r *rig, spec *task.Spec) {
		one(spec)
		r.run(spec)
		r.pass(time.Minute)
		c := r.want(spec, task.Stopped).Containers[0]
		if want := "CannotStartContainerError: " + fail.Error(); c.Error.Error() != want {
			t.Errorf("reason %q", c.Error)
		}
		for _, c := range r.docker.Containers() {
			if c.Status == task.ContainerRunning {
				t.Errorf("%s runs", c.Name)
			}
		}
	})
	// A container that has ended by itself was started all the same.
	withNetwork(t, n, edit, func(r *rig, spec *task.Spec) {
		one(spec)
		r.docker.Program("app", enginetest.Program{Exits: true, Code: 3})
		r.run(spec)
		r.pass(time.Minute)
		if c := r.want(spec, task.Stopped).Containers[0]; c.ExitCode == nil || *c.ExitCode != 3 {
			t.Errorf("%+v", c)
		}
	})
}

// connects is a ConnectNetwork that writes down what it is asked for.
type connects struct {
	mu    sync.Mutex
	calls []string
	setUp error
}

func (c *connects) call(what string, s *task.Snapshot, pause, pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	proxy := s.State.Containers[s.Index(task.ConnectPauseName(s.Connect.Container))]
	c.calls = append(c.calls, fmt.Sprintf("%s %s %v %v", what, s.Containers[pause].Name, pid > 0, len(proxy.Networks) > 0))
}

func (c *connects) SetUp(_ context.Context, s *task.Snapshot, pause, pid int) error {
	c.call("set up", s, pause, pid)
	return c.setUp
}

func (c *connects) TearDown(_ context.Context, s *task.Snapshot, pause, pid int) error {
	c.call("tear down", s, pause, pid)
	return nil
}

func withConnect(t *testing.T, c *connects, test func(*rig, *task.Spec)) {
	t.Helper()
	in(t, func(o *Options) {
		o.Pause = task.Pause{Image: "pause:1"}
		if c != nil {
			o.Connect = c
		}
	}, func(r *rig) {
		spec := specOf("one", "app", "proxy")
		spec.NetworkMode, spec.Containers[1].HealthCheckType = "bridge", "docker"
		spec.Containers[1].DockerConfig = `{"HealthCheck":{"Test":["CMD","x"]}}`
		spec.Attachments = []task.Attachment{{Type: "serviceconnectdetail", Properties: map[string]string{"ContainerName": "proxy", "ServiceConnectConfig": `{"egressConfig":{"listenerName":"e","listenerPort":40001,"vip":{"ipv4Cidr":"10.213.0.0/16"}}}`}}}
		test(r, spec)
	})
}

// TestConnectBridged: each container's network is set up in its pause container, that of the
// proxy first, and taken down before it stops.
func TestConnectBridged(t *testing.T) {
	const ofApp, ofProxy = "~internal~ecs~pause-app", "~internal~ecs~pause-proxy"
	c := &connects{}
	withConnect(t, c, func(r *rig, spec *task.Spec) {
		r.run(spec)
		r.pass(time.Second)
		r.docker.SetHealth(r.idOf(spec, 1), task.HealthHealthy)
		r.pass(time.Second)
		st := r.want(spec, task.Running)
		if len(st.Containers) != 4 || st.Containers[2].Known != task.ContainerResourcesProvisioned {
			t.Fatalf("containers %+v", st.Containers)
		}
		r.stopTask(spec)
		r.want(spec, task.Stopped)
		want := []string{
			"set up " + ofProxy + " true true", "set up " + ofApp + " true true",
			"tear down " + ofApp + " true true", "tear down " + ofProxy + " true true",
		}
		if diff := cmp.Diff(want, c.calls); diff != "" {
			t.Error(diff)
		}
		at := map[string]int{}
		for i, call := range r.docker.Calls() {
			at[call] = i
		}
		if at["create proxy"] < at["start "+ofApp] || at["create app"] < at["start proxy"] || at["stop "+ofApp] < at["stop proxy"] {
			t.Errorf("calls %q", r.docker.Calls())
		}
	})
	failing := &connects{setUp: errors.New("no luck")}
	withConnect(t, failing, func(r *rig, spec *task.Spec) {
		r.run(spec)
		if st := r.want(spec, task.Stopped); st.TerminalReason != "ContainerNetworkingError: container resource provisioning: failed to setup network namespace: no luck" {
			t.Errorf("reason %q", st.TerminalReason)
		}
	})
	withConnect(t, nil, func(r *rig, spec *task.Spec) {
		r.run(spec)
		if st := r.want(spec, task.Stopped); !strings.Contains(st.TerminalReason, "task networking is switched off on this container instance") {
			t.Errorf("reason %q", st.TerminalReason)
		}
	})
}
