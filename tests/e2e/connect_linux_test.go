package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dockerimage "github.com/docker/docker/api/types/image"

	"ecsagent/agent/task"
	"ecsagent/cni/nettest"
	"ecsagent/tests/harness"
)

// connectPayload gives each task that the agent is sent to run a Service Connect
// configuration, with the container "proxy" as its proxy.
func (e *env) connectPayload(config M) {
	e.t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		e.t.Fatal(err)
	}
	e.rewritten("PayloadMessage", func(message M) {
		tasks, _ := message["tasks"].([]any)
		for _, one := range tasks {
			if one := one.(M); one["desiredStatus"] == "RUNNING" {
				one["attachments"] = []M{{"attachmentArn": "arn:aws:ecs:us-west-2:000000000000:attachment/connect", "attachmentType": "serviceconnectdetail", "attachmentProperties": []M{
					{"name": "ContainerName", "value": "proxy"}, {"name": "ServiceConnectConfig", "value": string(text)},
				}}}
			}
		}
	})
}

// A task with Service Connect in network mode bridge, whose proxy and relay are played by
// tests/meshproxy: each container has a network of its own, held by a pause container that
// publishes its ports; names of services lead into the proxy with their addresses intact,
// and connections from outside through it to the application. The agent is killed
// meanwhile, a pause container too, and nothing is left.
func TestBridgeServiceConnect(t *testing.T) {
	nettest.NeedRoot(t)
	agents := connectArchive(t)
	directory := filepath.Join(t.TempDir(), "cni")
	e := prepared(t, "ECS_MANAGED_AGENTS_DIR="+agents, "ECS_CNI_PLUGINS_PATH="+directory,
		"ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER=1s")
	program, err := plugins()
	if err == nil {
		err = installed(e.ctx, program, directory)
	}
	if err == nil {
		err = e.Start(e.ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = shared.docker.ImageRemove(e.ctx, task.ConnectImage, dockerimage.RemoveOptions{Force: true}) // another test may have it
	})
	const vip = "10.213.0.3"
	e.connectPayload(M{
		"egressConfig":  M{"listenerName": "service-any", "vip": M{"ipv4Cidr": "10.213.0.0/16", "ipv6Cidr": "2002:f0a0::/64"}},
		"ingressConfig": []M{{"listenerName": "ingress-app-8080", "listenerPort": 0}},
		"dnsConfig":     []M{{"hostName": "orders.internal", "address": vip}},
	})
	def := bridged(
		page("app", []M{{"containerPort": 8080, "hostPort": 0}}, 8080),
		sleeper("side", M{"essential": false, "hostname": "sidecar", "dnsSearchDomains": []string{"shop.internal"}, "extraHosts": []M{{"hostname": "printer", "ipAddress": "192.0.2.9"}}}),
		M{
			"name": "proxy", "image": "nowhere.invalid/never:pulled", "essential": true, "memory": 64, "user": "0",
			"linuxParameters": M{"capabilities": M{"add": []string{"NET_ADMIN"}}},
			"healthCheck":     M{"command": []string{"CMD", "/meshproxy", "appnet-health"}, "interval": 5, "startPeriod": 1},
		},
	)
	serves := func(one harness.Task) {
		t.Helper()
		for _, name := range []string{"app", "side"} {
			out, err := e.exec(one.Container(name).RuntimeID, "sh", "-c", "timeout 60 wget -qO- http://orders.internal/ 2>&1")
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "page of the service in "+name, strings.TrimSpace(out), "orders.internal at "+vip+":80")
		}
		e.passed(one, "proxy", "service "+vip+":80")
		own, through := binding(one.Container("app"), 8080, "tcp"), harness.Binding{}
		for _, b := range one.Container("proxy").NetworkBindings {
			if !strings.Contains(b.BindIP, ":") {
				through = b
			}
		}
		if own.HostPort == 0 || through.HostPort == 0 {
			t.Fatalf("ports are not reported:\n%s", pretty(one.Containers))
		}
		equal(t, "page on the application's port", e.get(own.HostPort), "8080")
		equal(t, "page through the proxy", e.get(through.HostPort), "8080")
	}
	one := e.running(def)
	serves(one)
	for _, name := range []string{"app", "side", "proxy"} {
		pause := e.connectPause(one.TaskARN, name)
		info, err := shared.docker.ContainerInspect(e.ctx, pause)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "network of the pause container of "+name, string(info.HostConfig.NetworkMode), "bridge")
		joined := e.inspect(one, name)
		equal(t, "network of "+name, string(joined.HostConfig.NetworkMode), "container:"+pause)
		equal(t, "ports that "+name+" publishes itself", len(joined.HostConfig.PortBindings), 0)
	}
	names, err := e.exec(one.Container("side").RuntimeID, "sh", "-c", "hostname; cat /etc/hosts /etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "names in side", names, "sidecar", "192.0.2.9\tprinter", vip+"\torders.internal", "search shop.internal")

	e.Agent.Kill()
	e.restart()
	two := e.running(def)
	serves(two)
	serves(one)

	logs := e.following(one, "proxy")
	e.stop(one.TaskARN)
	contains(t, "last words of the proxy", logs(), "admin /drain_listeners?inboundonly")
	if err := shared.docker.ContainerKill(e.ctx, e.connectPause(two.TaskARN, "app"), "KILL"); err != nil {
		t.Fatal(err)
	}
	ended := e.stopped(two.TaskARN)
	contains(t, "reason", ended.StoppedReason, "Container ~internal~ecs~pause-app of the agent ended")

	arn := e.instance().ARN
	e.eventually(patience, "everything of the tasks to go", func() (bool, error) {
		all, err := e.Containers(e.ctx, shared.docker)
		if err != nil || len(all) > 0 {
			return false, fmt.Errorf("%d containers (%v)", len(all), err)
		}
		folders, err := os.ReadDir(filepath.Join(e.Dir, "run", "service_connect"))
		files, _ := filepath.Glob(filepath.Join(e.Dir, "data", "cni", "*", "*")) // the pattern is one
		if n := len(e.relays(arn[strings.LastIndexByte(arn, '/')+1:])); n > 0 || len(folders) > 0 || len(files) > 0 {
			return false, fmt.Errorf("%d relays, folders %v, files %v", n, folders, files)
		}
		return err == nil, err
	})
}

// connectPause is the pause container of a container of a task.
func (e *env) connectPause(arn, name string) (id string) {
	e.t.Helper()
	all, err := e.Containers(e.ctx, shared.docker)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, c := range all {
		if c.Labels[harness.LabelTaskARN] == arn && c.Labels[harness.LabelContainer] == task.ConnectPauseName(name) {
			return c.ID
		}
	}
	e.t.Fatalf("container %s of %s has no pause container", name, arn)
	panic("unreachable")
}
