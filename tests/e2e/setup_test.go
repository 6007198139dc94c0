package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	docker "github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/tests/harness"
	"ecsagent/tests/image"
	"ecsagent/tests/proxy"
	"ecsagent/tests/registry"
)

// M is a JSON object.
type M = map[string]any

// shared is what all tests use: the programs, the engine, a registry with an image.
var shared struct {
	host     string // DOCKER_HOST of the engine
	programs string
	docker   *docker.Client
	registry *registry.Server
	tools    string // reference of an image with a shell
	digest   string // of tools
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		if err := prepare(); err != nil {
			fmt.Fprintln(os.Stderr, "set up the end-to-end tests:", err)
			return 1
		}
		defer func() {
			if shared.registry != nil {
				shared.registry.Kill()
				_ = os.RemoveAll(shared.programs)
			}
		}()
		return m.Run()
	}())
}

func prepare() error {
	if shared.host = os.Getenv("ECS_TEST_DOCKER_HOST"); shared.host == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var err error
	if shared.docker, err = docker.NewClientWithOpts(docker.WithHost(shared.host), docker.WithAPIVersionNegotiation()); err != nil {
		return err
	}
	if _, err = shared.docker.Ping(ctx); err != nil {
		return err
	}
	if shared.programs, err = os.MkdirTemp("", "ecsagent-e2e-"); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", shared.programs+string(filepath.Separator),
		"ecsagent/agent/cmd/ecs-agent", "ecsagent/controlplane/cmd/ecs-local", "ecsagent/controlplane/cmd/ecs-local-ssm-agent",
		"ecsagent/ecsinit/cmd/ecs-init", "ecsagent/tests/sdkload", "ecsagent/tests/logrouter")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	if out, err := exec.CommandContext(ctx, filepath.Join("..", "..", "scripts", "pause"), shared.programs).CombinedOutput(); err != nil {
		return fmt.Errorf("build the pause image: %w\n%s", err, out)
	}
	if shared.registry, err = registry.Start(); err != nil {
		return err
	}
	shared.tools, shared.digest, err = push(ctx, "tools:1", v1.Config{Cmd: []string{"sleep", "3600"}})
	return err
}

// push stores a tools image; different configurations make different images.
func push(ctx context.Context, name string, config v1.Config) (ref, digest string, err error) {
	img, err := image.Busybox(config)
	if err != nil {
		return "", "", err
	}
	return shared.registry.Push(ctx, name, img)
}

// env is a test's own control plane, agent, and what stands between them.
type env struct {
	*harness.Stack
	t      *testing.T
	ctx    context.Context
	link   *proxy.TCP    // before plane
	plane  *proxy.ECS    // before ecs-local
	engine *proxy.Docker // before the engine
}

var environments atomic.Int32

// limit is how long one test may take.
const limit = 5 * time.Minute

// prepared makes an env in which nothing runs yet.
func prepared(t *testing.T, agent ...string) *env {
	t.Helper()
	if shared.host == "" {
		t.Skip("ECS_TEST_DOCKER_HOST is not set; make test sets it")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	e := &env{t: t, ctx: ctx}
	dir := socketDir(t)
	var err error
	if e.engine, err = proxy.NewDocker(filepath.Join(dir, "d.sock"), shared.host); err != nil {
		t.Fatal(err)
	}
	// Agents that share a host must not choose the same ports.
	low := 21000 + 100*int(environments.Add(1))
	e.Stack, err = harness.NewStack(harness.Options{
		Programs: shared.programs, Dir: filepath.Join(dir, "stack"), DockerHost: e.engine.Host(),
		Cluster: "t" + randomHex(), Keep: true,
		Agent: append([]string{
			fmt.Sprintf("ECS_DYNAMIC_HOST_PORT_RANGE=%d-%d", low, low+99),
			"ECS_LOGLEVEL=debug", "ECS_IMAGE_CLEANUP_INTERVAL=10h",
		}, agent...),
	})
	if err != nil {
		t.Fatal(err)
	}
	if e.plane, err = proxy.NewECS("http://" + e.LocalAddress); err != nil {
		t.Fatal(err)
	}
	if e.link, err = proxy.NewTCP("tcp", e.plane.Address()); err != nil {
		t.Fatal(err)
	}
	e.plane.SetPublic("http://" + e.link.Address())
	e.Endpoint = e.link.Address()
	t.Cleanup(func() {
		defer cancel()
		if t.Failed() {
			t.Logf("--- agent's log\n%s", harness.Tail(e.AgentLog(), 80))
			t.Logf("--- ecs-local's log\n%s", harness.Tail(filepath.Join(e.Dir, "log", "ecs-local.log"), 20))
		}
		ending, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Close(ending); err != nil {
			t.Error(err)
		}
		e.link.Close()
		e.plane.Close()
		e.engine.Close()
	})
	return e
}

// start makes an env with a connected agent.
func start(t *testing.T, agent ...string) *env {
	t.Helper()
	e := prepared(t, agent...)
	if err := e.Start(e.ctx); err != nil {
		t.Fatal(err)
	}
	return e
}

// socketDir is a folder with a path short enough for a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ecs-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if os.Getenv("ECS_TEST_KEEP") == "" {
			_ = os.RemoveAll(dir)
		} else {
			t.Log("kept", dir)
		}
	})
	return dir
}

func randomHex() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// sh is a container that runs a shell script in the tools image.
func sh(name, script string, more ...M) M {
	c := M{"name": name, "image": shared.tools, "memory": 32, "essential": true, "command": []string{"sh", "-c", script}}
	for _, m := range more {
		for k, v := range m {
			c[k] = v
		}
	}
	return c
}

// sleeper is a container that runs until it is told to end, and then ends at once.
func sleeper(name string, more ...M) M {
	return sh(name, "trap 'exit 0' TERM; sleep 3600 & while :; do wait; done", more...)
}

// definition makes a task definition of containers in the host's network, with which the
// engine has the least to do.
func definition(containers ...M) M {
	return M{"family": "t" + randomHex(), "networkMode": "host", "containerDefinitions": containers}
}

// bridged makes a task definition of containers with networks of their own.
func bridged(containers ...M) M {
	def := definition(containers...)
	def["networkMode"] = "bridge"
	return def
}

// launch registers a definition, runs one task of it and returns its ARN.
func (e *env) launch(def M) string {
	e.t.Helper()
	arn, err := e.ECS.Register(e.ctx, def)
	if err != nil {
		e.t.Fatal(err)
	}
	tasks, failures, err := e.ECS.Run(e.ctx, arn, 1)
	if err != nil {
		e.t.Fatal(err)
	}
	if len(tasks) != 1 {
		e.t.Fatalf("the task was not placed: %v", failures)
	}
	return tasks[0].TaskARN
}

// awaits waits for a status; a task that stops instead fails the test.
func (e *env) awaits(arn, status string) harness.Task {
	e.t.Helper()
	task, err := e.ECS.AwaitStatus(e.ctx, arn, status, "STOPPED")
	if err != nil {
		e.t.Fatalf("%v\n%s", err, pretty(task))
	}
	if task.LastStatus != status {
		e.t.Fatalf("the task stopped instead of becoming %s:\n%s", status, pretty(task))
	}
	return task
}

func (e *env) running(def M) harness.Task {
	e.t.Helper()
	task := e.awaits(e.launch(def), "RUNNING")
	for _, c := range task.Containers {
		if c.RuntimeID != "" && c.LastStatus == "RUNNING" {
			minds(e.ctx, c.RuntimeID)
		}
	}
	return task
}

func (e *env) stopped(arn string) harness.Task {
	e.t.Helper()
	return e.awaits(arn, "STOPPED")
}

// stop stops a task and waits for its end.
func (e *env) stop(arn string) harness.Task {
	e.t.Helper()
	if err := e.ECS.Stop(e.ctx, arn, "the test is over"); err != nil {
		e.t.Fatal(err)
	}
	return e.stopped(arn)
}

// inspect asks the engine about a container of a task.
func (e *env) inspect(task harness.Task, name string) container.InspectResponse {
	e.t.Helper()
	id := task.Container(name).RuntimeID
	if id == "" {
		e.t.Fatalf("container %s has no runtime id:\n%s", name, pretty(task))
	}
	info, err := shared.docker.ContainerInspect(e.ctx, id)
	if err != nil {
		e.t.Fatal(err)
	}
	return info
}

// reports lists the task statuses that the agent submitted for a task, in order.
func (e *env) reports(arn string) []string {
	var out []string
	for _, s := range e.plane.Submissions("SubmitTaskStateChange") {
		var body struct{ Task, Status string }
		if json.Unmarshal(s.Body, &body) == nil && body.Task == arn && body.Status != "" {
			out = append(out, body.Status)
		}
	}
	return out
}

// instance is the agent's container instance.
func (e *env) instance() harness.Instance {
	e.t.Helper()
	i, err := e.AwaitAgent(e.ctx)
	if err != nil {
		e.t.Fatal(err)
	}
	return i
}

// alive fails the test unless the agent still runs tasks.
func (e *env) alive() {
	e.t.Helper()
	if !e.Agent.Running() {
		e.t.Fatalf("the agent ended with exit code %d", e.Agent.ExitCode())
	}
	task := e.running(definition(sleeper("alive")))
	e.stop(task.TaskARN)
}

func exitCode(c harness.Container) string {
	if c.ExitCode == nil {
		return "none"
	}
	return fmt.Sprint(*c.ExitCode)
}

func pretty(v any) string {
	b, _ := json.MarshalIndent(v, "", " ")
	return string(b)
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func contains(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s: got %q, want it to contain %q", what, got, w)
		}
	}
}
