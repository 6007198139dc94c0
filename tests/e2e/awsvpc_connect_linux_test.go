package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"ecsagent/agent/task"
	"ecsagent/tests/harness"
	"ecsagent/tests/image"
)

// connectArchive makes the archive that AWS's package has, with tests/meshproxy as the
// program, and returns the folder of managed agents.
func connectArchive(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "meshproxy")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "ecsagent/tests/meshproxy")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the proxy: %v\n%s", err, out)
	}
	busybox, err := image.FindBusybox()
	if err != nil {
		t.Fatal(err)
	}
	shell, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.Build([]image.File{
		{Path: "/bin", Dir: true}, {Path: "/bin/sh", Data: shell}, {Path: "/meshproxy", Data: data},
		{Path: "/health_check.sh", Data: []byte("#!/bin/sh\nexec /meshproxy appnet-health\n")},
	}, v1.Config{Entrypoint: []string{"/meshproxy", "appnet"}, Env: []string{"PATH=/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(task.ConnectImage)
	if err != nil {
		t.Fatal(err)
	}
	agents := filepath.Join(dir, "agents")
	if err := os.MkdirAll(filepath.Join(agents, "serviceconnect"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(filepath.Join(agents, "serviceconnect", "ecs-service-connect-agent.interface-v1.tar"), tag, img); err != nil {
		t.Fatal(err)
	}
	return agents
}

// relays are the relay containers of this test's agent.
func (e *env) relays(instance string) []container.Summary {
	e.t.Helper()
	all, err := shared.docker.ContainerList(e.ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("name", "ecs-service-connect-relay-"+instance))})
	if err != nil {
		e.t.Fatal(err)
	}
	return all
}

// A task with Service Connect, whose proxy and relay are played by tests/meshproxy: names
// of services lead into the proxy, as connections from outside do, in both families; the
// proxy reaches the relay, which all tasks share and which outlives the agent; it is
// drained before anything stops; and nothing of it is left with the last task.
func TestAWSVPCServiceConnect(t *testing.T) {
	v := withVPC(t, subnet6, "ECS_MANAGED_AGENTS_DIR="+connectArchive(t), "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER=1s")
	t.Cleanup(func() {
		_, _ = shared.docker.ImageRemove(v.ctx, task.ConnectImage, dockerimage.RemoveOptions{Force: true}) // another test may have it
	})
	if !v.hasAttribute("ecs.capability.service-connect-v1") {
		t.Error("ecs.capability.service-connect-v1 is not advertised")
	}
	arn := v.instance().ARN
	instance := arn[strings.LastIndexByte(arn, '/')+1:]
	config, err := json.Marshal(M{
		"egressConfig":  M{"listenerName": "service-any", "vip": M{"ipv4Cidr": "127.255.0.0/16", "ipv6Cidr": "2002:f0a0::/64"}},
		"ingressConfig": []M{{"listenerName": "ingress-app", "listenerPort": 0, "interceptPort": 8080}},
		"dnsConfig":     []M{{"hostName": "orders.internal", "address": "127.255.0.3"}, {"hostName": "orders6.internal", "address": "2002:f0a0::3"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	v.payload(func(task, _ M) {
		task["attachments"] = []M{{"attachmentArn": "arn:aws:ecs:us-west-2:000000000000:attachment/connect", "attachmentType": "serviceconnectdetail", "attachmentProperties": []M{
			{"name": "ContainerName", "value": "proxy"}, {"name": "ServiceConnectConfig", "value": string(config)},
		}}}
	})
	def := func(text string) M {
		return vpcDefinition(
			server("app", text),
			M{
				"name": "proxy", "image": "nowhere.invalid/never:pulled", "essential": true, "memory": 64,
				"healthCheck": M{"command": []string{"CMD", "/meshproxy", "appnet-health"}, "interval": 5, "startPeriod": 1},
			},
		)
	}
	one := v.running(def("one"))
	id := func(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
	folder := filepath.Join(v.Dir, "run", "service_connect")
	for host, want := range map[string]string{"orders.internal": "127.255.0.3:80", "orders6.internal": "[2002:f0a0::3]:80"} {
		equal(t, "page of the service "+host, v.inTask(one, "app", "timeout 60 wget -qO- http://"+host+"/"), host+" at "+want)
		v.passed(one, "proxy", "service "+want)
	}
	at, at6 := v.serves(one, "one"), one.Container("app").Interfaces[0].IPv6
	v.servesOn(at6, "one")
	v.passed(one, "proxy", "ingress "+at+":8080")
	v.passed(one, "proxy", "ingress ["+at6+"]:8080")
	v.passed(one, "proxy", fmt.Sprintf("user %d, the relay says relayed", task.ConnectUser))
	contains(t, "page on loopback", v.inTask(one, "app", "timeout 60 wget -qO- http://127.0.0.1:8080/name"), "one")
	relay := v.relays(instance)
	if len(relay) != 1 || relay[0].State != "running" {
		t.Fatalf("relays: %+v", relay)
	}
	v.eventually(patience, "the relay to be healthy", func() (bool, error) {
		info, err := shared.docker.ContainerInspect(v.ctx, relay[0].ID)
		return err == nil && info.State.Health != nil && info.State.Health.Status == "healthy", err
	})

	v.Agent.Kill()
	v.restart()
	two := v.running(def("two"))
	v.serves(two, "two")
	v.passed(two, "proxy", fmt.Sprintf("user %d, the relay says relayed", task.ConnectUser))
	if again := v.relays(instance); len(again) != 1 || again[0].ID != relay[0].ID {
		t.Errorf("relays with the second task: %+v; with the first %+v", again, relay)
	}

	logs := v.following(one, "proxy")
	v.stop(one.TaskARN)
	contains(t, "last words of the proxy", logs(), "admin /drain_listeners?inboundonly")
	v.eventually(patience, "the first task's folder to be removed", func() (bool, error) {
		_, err := os.Stat(filepath.Join(folder, id(one.TaskARN)))
		return os.IsNotExist(err), nil
	})
	if left := v.relays(instance); len(left) != 1 || left[0].State != "running" {
		t.Errorf("relays with a task left: %+v", left)
	}
	v.stop(two.TaskARN)
	v.eventually(patience, "the relay and its folder to go with the last task", func() (bool, error) {
		left, err := os.ReadDir(folder)
		if n := len(v.relays(instance)); n > 0 || len(left) > 0 {
			return false, fmt.Errorf("%d relays, folders %v", n, left)
		}
		return err == nil, err
	})

	v.nothingLeft()
}

// following reads a container's output until it ends, which the returned function waits
// for.
func (e *env) following(t harness.Task, name string) (output func() string) {
	e.t.Helper()
	r, err := shared.docker.ContainerLogs(e.ctx, t.Container(name).RuntimeID, container.LogsOptions{ShowStdout: true, Follow: true})
	if err != nil {
		e.t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		var out strings.Builder
		_, _ = stdcopy.StdCopy(&out, io.Discard, r) // as much as there is
		_ = r.Close()
		said <- out.String()
	}()
	return func() string { return <-said }
}
