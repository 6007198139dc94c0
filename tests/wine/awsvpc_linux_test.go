package wine

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"ecsagent/cni/nettest"
	"ecsagent/platform_windows/hns/hnstest"
	"ecsagent/tests/harness"
)

// listen listens in a network namespace.
func listen(t *testing.T, in *nettest.Namespace, address string) net.Listener {
	t.Helper()
	var l net.Listener
	if err := in.Do(func() (err error) {
		l, err = new(net.ListenConfig).Listen(context.Background(), "tcp", address)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return l
}

// door leads from an address in a namespace to the same address here.
func door(t *testing.T, in *nettest.Namespace, address string) {
	t.Helper()
	l := listen(t, in, address)
	var open sync.WaitGroup
	var mu sync.Mutex
	closed := false
	conns := map[net.Conn]bool{}
	keep := func(c net.Conn) bool {
		mu.Lock()
		defer mu.Unlock()
		conns[c] = true
		return !closed
	}
	open.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer from.Close()
				to, err := new(net.Dialer).DialContext(context.Background(), "tcp", address)
				if err != nil {
					return
				}
				defer to.Close()
				if !keep(from) || !keep(to) {
					return
				}
				open.Go(func() {
					defer to.Close()
					_, _ = io.Copy(to, from)
				})
				_, _ = io.Copy(from, to)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		closed = true
		for c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		open.Wait()
	})
}

// TestAWSVPC: a task of network mode awsvpc on a container instance that is Wine in a network
// namespace. The interface is one that ecs-local attaches there; vpc-eni.exe and hcsshim are
// the real ones, on services that the test plays.
func TestAWSVPC(t *testing.T) {
	programs := os.Getenv("ECS_TEST_WINDOWS_PROGRAMS")
	if programs == "" {
		t.Skip("needs the programs for Windows; make test-windows builds them and sets ECS_TEST_WINDOWS_PROGRAMS")
	}
	nettest.NeedRoot(t)
	t.Parallel()
	host := nettest.New(t)
	name := fmt.Sprintf("ecs-wine-%d", os.Getpid())
	t.Cleanup(func() { _ = netns.DeleteNamed(name) }) // ecs-local's, gone unless the test has failed
	// The instance's own interface, with the way out.
	for _, line := range []string{
		"link add eth0 type veth peer name peer0", "link set eth0 up", "link set peer0 up", "addr add 10.21.0.7/24 dev eth0", "route add default via 10.21.0.1",
	} {
		args := append([]string{"--net=" + host.Path(), "ip"}, strings.Fields(line)...)
		if out, err := exec.CommandContext(t.Context(), "nsenter", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	docker := newEngineOn(t, listen(t, host, "127.0.0.1:0"))
	services := hnstest.New()
	services.Runs = docker.runs
	services.Left("0600000000aa", "gone")
	l := listen(t, host, "127.0.0.1:0")
	served := make(chan struct{})
	go func() {
		defer close(served)
		services.Serve(l)
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-served
	})

	dir := t.TempDir()
	s, err := harness.NewStack(harness.Options{
		Programs: programs, Dir: dir, DockerHost: "tcp://" + strings.TrimPrefix(docker.URL, "http://"),
		Local: []string{"--vpc", "--vpc-name", name, "--vpc-host", host.Path(), "--vpc-subnet", "10.22.1.1/24"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.ECS.Network = map[string]any{"awsvpcConfiguration": map[string]any{"subnets": []string{"local"}}}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	door(t, host, s.LocalAddress)
	if err := s.StartLocal(ctx); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log", "ecs-agent.log")
	t.Cleanup(func() {
		if _, err := s.Local.Stop(30 * time.Second); err != nil {
			t.Error(err)
		}
		s.ECS.Close()
		if t.Failed() {
			t.Log(harness.Tail(log, 60), docker.unknown, strings.Join(services.Calls(), "\n"))
		}
	})

	w := newWindowsIn(t, host.Path())
	plugins := filepath.Join(dir, "cni")
	w.run(filepath.Join(programs, "ecs-cni.exe"), "install", onWindows(plugins))
	w.start(s, dir, map[string]string{
		"ECS_BACKEND_HOST": "http://" + s.LocalAddress, "ECS_EXTERNAL": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://" + s.LocalAddress,
		"ECS_ENABLE_TASK_ENI": "true", "ECS_AWSVPC_BLOCK_IMDS": "true", "ECS_CNI_PLUGINS_PATH": onWindows(plugins),
		"HNS_STANDIN_AT": l.Addr().String(),
	})
	instance := connected(ctx, t, s)
	names := map[string]bool{}
	for _, a := range instance.Attributes {
		names[a.Name] = true
	}
	for _, want := range []string{"task-eni", "task-eni-block-instance-metadata", "cni-plugin-version"} {
		if !names["ecs.capability."+want] && !names["com.amazonaws.ecs.capability."+want] {
			t.Errorf("%s is not among %v", want, instance.Attributes)
		}
	}
	const before = "network nat"
	if got := services.State(); got != before {
		t.Errorf("after the start:\n%s", got)
	}

	definition, err := s.ECS.Register(ctx, map[string]any{
		"family": "shop", "cpu": "512", "memory": "1024", "networkMode": "awsvpc",
		"containerDefinitions": []any{map[string]any{
			"name": "web", "image": "registry.example/shop/web:1", "cpu": 256, "memory": 512, "essential": true,
			"portMappings": []any{map[string]any{"containerPort": 80}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	services.Fail("HNS POST /endpoints/") // HNS is busy for a moment
	tasks, failures, err := s.ECS.Run(ctx, definition, 1)
	if err != nil || len(tasks) != 1 {
		t.Fatalf("%v %v", failures, err)
	}
	task, err := s.ECS.AwaitStatus(ctx, tasks[0].TaskARN, "RUNNING", "STOPPED")
	if err != nil || task.LastStatus != "RUNNING" {
		t.Fatalf("%+v %v", task, err)
	}
	address, mac := task.Interface()
	pause, web := docker.named("~internal~ecs~pause"), docker.named("web")
	if pause == nil || web == nil {
		t.Fatal("the task's containers are not there")
	}
	if string(web.config.HostConfig.NetworkMode) != "container:"+pause.id || pause.config.HostConfig.NetworkMode != "none" {
		t.Errorf("networks %q and %q", web.config.HostConfig.NetworkMode, pause.config.HostConfig.NetworkMode)
	}
	network := "taskbr" + strings.ReplaceAll(mac, ":", "")
	want := regexp.MustCompile(`^endpoint nat-ep-` + pause.id + ` 172\.30\.\d+\.\d+/20 in 2\nendpoint ` + network + `-ep-` + pause.id + ` ` + regexp.QuoteMeta(address) +
		`/24 in 2\nnetwork nat\nnetwork ` + network + ` on ecsx[0-9a-f]+, up on the host: false$`)
	if got := services.State(); !want.MatchString(got) {
		t.Errorf("while the task runs:\n%s\nwant %s", got, want)
	}
	n := `interface=vEthernet (nat-ep-` + pause.id + `) store=active`
	if got, want := strings.Join(docker.commands(), "\n"), strings.Join([]string{
		"netsh interface ipv4 delete route prefix=0.0.0.0/0 " + n, "netsh interface ipv4 delete route prefix=172.30.16.0/20 " + n,
		"netsh interface ipv4 add route prefix=169.254.170.2/32 " + n, "netsh interface ipv4 show route",
	}, "\n"); got != want {
		t.Errorf("in the pause container:\n%s", got)
	}
	for _, want := range []string{
		`"Type":"Transparent"`, `"GatewayAddress":"10.22.1.1"`, `"MacAddress":"` + mac + `"`, `"RemoteAddresses":"169.254.169.254/32"`, "Disable-NetAdapter", "HCS open " + web.id,
	} {
		if calls := strings.Join(services.Calls(), "\n"); !strings.Contains(calls, want) {
			t.Errorf("%s is not in\n%s", want, calls)
		}
	}

	services.Fail("HNS GET /endpoints") // HNS has been restarted, and is not ready
	if err := s.ECS.Stop(ctx, task.TaskARN, "enough"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ECS.AwaitStatus(ctx, task.TaskARN, "STOPPED"); err != nil {
		t.Fatal(err)
	}
	if got := services.State(); got != before {
		t.Errorf("after the task:\n%s", got)
	}

	// The host has another HNS than at the agent's start.
	services.SetVersion(7, 1)
	if tasks, failures, err = s.ECS.Run(ctx, definition, 1); err != nil || len(tasks) != 1 {
		t.Fatalf("%v %v", failures, err)
	}
	task, err = s.ECS.AwaitStatus(ctx, tasks[0].TaskARN, "RUNNING", "STOPPED")
	const reason = "ContainerNetworkingError: container resource provisioning: failed to setup network namespace: add network failed: " +
		"HNS is older than the minimum supported version for networks of tasks: it is 7.1, want 7.2 (Windows Server 1803)"
	if err != nil || task.LastStatus != "STOPPED" || task.StoppedReason != reason {
		t.Errorf("%s, %q, %v; want %q", task.LastStatus, task.StoppedReason, err, reason)
	}
	if got := services.State(); got != before {
		t.Errorf("after a task without a network:\n%s", got)
	}
	w.run("net", "stop", "AmazonECS")
	w.run(filepath.Join(programs, "ecs-agent.exe"), "service", "uninstall")
	docker.mu.Lock()
	defer docker.mu.Unlock()
	if len(docker.unknown) > 0 {
		t.Errorf("calls that the engine does not know: %q", docker.unknown)
	}
}
