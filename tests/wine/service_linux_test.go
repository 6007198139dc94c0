package wine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"ecsagent/tests/harness"
)

// patience is for a slow machine.
const patience = 2 * time.Minute

const script = "../../scripts/wine"

// onWindows is a path of this host as Wine has it.
func onWindows(path string) string { return "Z:" + strings.ReplaceAll(path, "/", `\`) }

// windows is a Windows of a test's own.
type windows struct {
	t     *testing.T
	home  string
	space string // path of its network namespace; empty: this one
}

func newWindows(t *testing.T) *windows {
	t.Helper()
	return newWindowsIn(t, "")
}

// newWindowsIn is one whose network is a namespace.
func newWindowsIn(t *testing.T, space string) *windows {
	t.Helper()
	w := &windows{t, t.TempDir(), space}
	if out, err := exec.CommandContext(t.Context(), script, "copy", w.home).CombinedOutput(); err != nil {
		t.Fatalf("copy Windows: %v: %s", err, out)
	}
	t.Cleanup(func() { w.wine("stop") })
	return w
}

func (w *windows) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{script}, args...)
	if w.space != "" {
		args = append([]string{"nsenter", "--net=" + w.space}, args...)
	}
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Env = append(os.Environ(), "XDG_CACHE_HOME="+w.home)
	return c
}

func (w *windows) wine(args ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := w.command(ctx, args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("wine %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// run runs a program of Windows.
func (w *windows) run(program string, args ...string) string {
	w.t.Helper()
	return w.wine(append([]string{"exec", program}, args...)...)
}

// boot starts Windows, which reads the environment of its services then, and keeps it
// running: it shuts down with the last program.
func (w *windows) boot() {
	w.t.Helper()
	w.wine("stop")
	c := w.command(context.Background(), "exec", "cmd", "/c", "set /p line=")
	in, err := c.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait() // its status says nothing
	})
}

const environment = `HKLM\System\CurrentControlSet\Control\Session Manager\Environment`

// start installs the agent as a service with these settings, and starts it.
func (w *windows) start(s *harness.Stack, dir string, more map[string]string) {
	w.t.Helper()
	config := filepath.Join(dir, "agent.config")
	settings := []string{
		"AWS_DEFAULT_REGION=" + harness.Region, "AWS_ACCESS_KEY_ID=AKIDLOCAL", "AWS_SECRET_ACCESS_KEY=local",
		`ECS_INSTANCE_ATTRIBUTES={"set":"in the file"}`, "DOCKER_HOST=" + s.DockerHost,
		"ECS_INTROSPECTION_ADDRESS=" + s.Introspection, "ECS_TASK_ENDPOINT_ADDRESS=" + s.TaskEndpoint,
	}
	machine := map[string]string{
		"ECS_CONFIG_FILE": onWindows(config),
		// What the installation has set wins over the file.
		"ECS_DATADIR": onWindows(filepath.Join(dir, "data")), "ECS_LOGFILE": onWindows(filepath.Join(dir, "log", "ecs-agent.log")),
	}
	for k, v := range more {
		if strings.HasPrefix(k, "HNS_") {
			machine[k] = v
		} else {
			settings = append(settings, k+"="+v)
		}
	}
	if err := os.WriteFile(config, []byte(strings.Join(settings, "\r\n")), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.run(filepath.Join(s.Programs, "ecs-agent.exe"), "service", "install", "--start", "manual", "--depends-on", "")
	for name, value := range machine {
		w.run("reg", "add", environment, "/v", name, "/d", value, "/f")
	}
	w.boot()
	// As user data does: Windows runs, and would give the service what was there before.
	w.run("reg", "add", environment, "/v", "ECS_INSTANCE_ATTRIBUTES", "/d", `{"set":"later"}`, "/f")
	w.run("net", "start", "AmazonECS")
}

// connected waits for the container instance.
func connected(ctx context.Context, t *testing.T, s *harness.Stack) (instance harness.Instance) {
	t.Helper()
	if err := harness.Poll(ctx, "the agent to connect", func(ctx context.Context) (bool, error) {
		all, err := s.ECS.Instances(ctx)
		if err != nil || len(all) != 1 || !all[0].AgentConnected {
			return false, err
		}
		instance = all[0]
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	return instance
}

// TestService: the agent is installed as a service, configured, started and registered; it
// runs a task whose container is one of Windows, stops it, and is stopped and removed.
func TestService(t *testing.T) {
	programs := os.Getenv("ECS_TEST_WINDOWS_PROGRAMS")
	if programs == "" {
		t.Skip("needs the programs for Windows; make test-windows builds them and sets ECS_TEST_WINDOWS_PROGRAMS")
	}
	t.Parallel()
	agent := filepath.Join(programs, "ecs-agent.exe")
	docker := newEngine(t)
	dir := t.TempDir()
	s, err := harness.NewStack(harness.Options{Programs: programs, Dir: dir, DockerHost: "tcp://" + strings.TrimPrefix(docker.URL, "http://")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
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
			t.Log(harness.Tail(log, 60), docker.unknown)
		}
	})

	w := newWindows(t)
	ecs := newSecured(t, s.LocalAddress)
	w.trust(ecs)
	w.start(s, dir, map[string]string{"ECS_BACKEND_HOST": ecs.URL, "ECS_EXTERNAL": "true", "ECS_ENABLE_CONTAINER_METADATA": "true", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION": "1s"})
	instance := connected(ctx, t, s)
	if !ecs.cameTo("agentHash=") {
		t.Error("the agent's channel did not come by TLS")
	}
	attributes := map[string]string{}
	for _, a := range instance.Attributes {
		attributes[a.Name] = a.Value
	}
	if attributes["ecs.os-type"] != "windows" || attributes["ecs.cpu-architecture"] != "x86_64" || attributes["set"] != "later" {
		t.Errorf("registered with %v", attributes)
	}

	definition, err := s.ECS.Register(ctx, map[string]any{
		"family": "shop", "cpu": "512", "memory": "1024",
		"volumes": []any{map[string]any{"name": "orders", "host": map[string]any{"sourcePath": `C:\orders`}}},
		"containerDefinitions": []any{map[string]any{
			"name": "web", "image": "registry.example/shop/web:1", "cpu": 256, "memory": 512, "essential": true,
			"command":      []string{"powershell", "-Command", "Start-Service W3SVC"},
			"portMappings": []any{map[string]any{"containerPort": 80}},
			"mountPoints":  []any{map[string]any{"sourceVolume": "orders", "containerPath": `D:\orders`}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tasks, failures, err := s.ECS.Run(ctx, definition, 1)
	if err != nil || len(tasks) != 1 {
		t.Fatalf("%v %v", failures, err)
	}
	task, err := s.ECS.AwaitStatus(ctx, tasks[0].TaskARN, "RUNNING", "STOPPED")
	if err != nil || task.LastStatus != "RUNNING" {
		t.Fatalf("%+v %v", task, err)
	}
	c := docker.only(t)
	h := c.config.HostConfig
	if len(h.Binds) == 0 || h.Binds[0] != `c:\orders:d:\orders` {
		t.Errorf("mounts %q", h.Binds)
	}
	percent := max(1, 256*100/int64(1024*runtime.NumCPU()))
	if h.CPUPercent != percent || h.CPUShares != 0 || h.Memory != 512<<20 || h.CgroupParent != "" || h.NetworkMode != "nat" {
		t.Errorf("CPU per cent %d, count %d, shares %d; memory %d; network %q", h.CPUPercent, h.CPUCount, h.CPUShares, h.Memory, h.NetworkMode)
	}
	env := strings.Join(c.config.Env, "\n")
	if !strings.Contains(env, "ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2/v4/") ||
		!strings.Contains(env, `ECS_CONTAINER_METADATA_FILE=C:\ProgramData\Amazon\ECS\metadata\`) {
		t.Errorf("environment:\n%s", env)
	}
	if b := task.Container("web").NetworkBindings; len(b) != 1 || b[0].ContainerPort != 80 || b[0].HostPort < 49152 {
		t.Errorf("ports %+v", b)
	}
	checkMetadataFile(t, dir, task.TaskARN)

	if err := s.ECS.Stop(ctx, task.TaskARN, "enough"); err != nil {
		t.Fatal(err)
	}
	if task, err = s.ECS.AwaitStatus(ctx, task.TaskARN, "STOPPED"); err != nil {
		t.Fatal(err)
	}
	if code := task.Container("web").ExitCode; code == nil || *code != 143 {
		t.Errorf("%+v", task)
	}
	checkRefused(ctx, t, s, docker, dir)
	w.run("net", "stop", "AmazonECS")
	if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "msg=\"stopped\"") && !strings.Contains(string(text), "msg=stopped") {
		t.Errorf("the agent's log does not tell of its end: %v", err)
	}
	w.run(agent, "service", "uninstall")
	docker.mu.Lock()
	defer docker.mu.Unlock()
	if len(docker.unknown) > 0 {
		t.Errorf("calls that the engine does not know: %q", docker.unknown)
	}
}

// checkMetadataFile reads the file that is mounted into the container.
func checkMetadataFile(t *testing.T, dir, arn string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "data", "metadata", "*", "*", "web", "ecs-container-metadata.json"))
	if err != nil || len(files) != 1 {
		t.Errorf("metadata files: %q %v", files, err)
		return
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var content struct{ TaskARN string }
	if err := json.Unmarshal(text, &content); err != nil || content.TaskARN != arn {
		t.Error(fmt.Errorf("%s: %s: %w", files[0], text, err))
	}
}

// checkRefused: images and isolation modes that this Windows does not have stop their tasks
// with what Docker says, and leave no container; the next task runs.
func checkRefused(ctx context.Context, t *testing.T, s *harness.Stack, docker *engine, dir string) {
	t.Helper()
	docker.mu.Lock()
	docker.refusals = map[string]refusal{
		"registry.example/linux": {pull: `cannot download image with operating system "linux" when requesting "windows"`},
		"registry.example/later": {pull: "a Windows version 10.0.26100-based image is incompatible with a 10.0.20348 host"},
		"registry.example/mode":  {create: "invalid isolation (kata): Windows supports 'default', 'process', or 'hyperv'"},
		"registry.example/hyper": {start: "hcs::CreateComputeSystem: The virtual machine could not be started because a required feature is not installed."},
	}
	docker.mu.Unlock()
	run := func(image string) string {
		definition, err := s.ECS.Register(ctx, map[string]any{
			"family": "refused", "containerDefinitions": []any{map[string]any{"name": "web", "image": image, "memory": 128, "essential": true}},
		})
		if err != nil {
			t.Fatal(err)
		}
		tasks, failures, err := s.ECS.Run(ctx, definition, 1)
		if err != nil || len(tasks) != 1 {
			t.Fatalf("%v %v", failures, err)
		}
		return tasks[0].TaskARN
	}
	arns := map[string]string{}
	for image := range docker.refusals {
		arns[image] = run(image + ":1")
	}
	for image, said := range docker.refusals {
		task, err := s.ECS.AwaitStatus(ctx, arns[image], "RUNNING", "STOPPED")
		name, text := "CannotPullContainerError", said.pull
		switch {
		case said.create != "":
			name, text = "CannotCreateContainerError", said.create
		case said.start != "":
			name, text = "CannotStartContainerError", said.start
		}
		if reason := task.Container("web").Reason; err != nil || task.LastStatus != "STOPPED" || !strings.HasPrefix(reason, name+": ") || !strings.Contains(reason, text) {
			t.Errorf("%s: %s, reason %q, container's %q, %v; want %s: %s", image, task.LastStatus, task.StoppedReason, reason, err, name, text)
		}
	}
	good := run("registry.example/shop/web:1")
	if task, err := s.ECS.AwaitStatus(ctx, good, "RUNNING", "STOPPED"); err != nil || task.LastStatus != "RUNNING" {
		t.Errorf("after those: %+v %v", task, err)
	}
	if err := s.ECS.Stop(ctx, good, "enough"); err != nil {
		t.Fatal(err)
	}
	left := ""
	if err := harness.Poll(ctx, "containers and metadata files to be removed", func(context.Context) (bool, error) {
		files, err := filepath.Glob(filepath.Join(dir, "data", "metadata", "*", "*"))
		docker.mu.Lock()
		defer docker.mu.Unlock()
		left = fmt.Sprintf("%d containers, files %q", len(docker.containers), files)
		return len(docker.containers)+len(files) == 0, err
	}); err != nil {
		t.Errorf("%v: %s", err, left)
	}
}
