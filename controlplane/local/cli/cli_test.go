package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ecsagent/controlplane/agentlink/linktest"
	"ecsagent/controlplane/api"
	"ecsagent/controlplane/local"
	"ecsagent/controlplane/local/cli"
	"ecsagent/controlplane/local/client"
)

// actAsProgram makes the test binary behave as ecs-local, for `up --detach`.
const actAsProgram = "ECS_LOCAL_TEST_ACT_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(actAsProgram) == "1" {
		os.Exit(cli.Main(context.Background(), cli.Environment{Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Version: "1.2.3"}, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// buffer is written by a command and read by its test.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// result is what a command did.
type result struct {
	code     int
	out, err string
}

func command(endpoint string, args ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out, errOut buffer
	env := cli.Environment{Out: &out, Err: &errOut, Version: "1.2.3", Getenv: func(name string) string {
		if name == "ECS_LOCAL_ENDPOINT" {
			return endpoint
		}
		return ""
	}}
	code := cli.Main(ctx, env, args)
	return result{code, out.String(), errOut.String()}
}

// bench is a server, with a scripted agent if there is a script.
type bench struct {
	*testing.T
	srv   *local.Server
	agent *linktest.Instance
}

func newBench(t *testing.T, script *linktest.Script) *bench {
	t.Helper()
	srv, err := local.Start(context.Background(), local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, srv: srv}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	if script != nil {
		if b.agent, err = linktest.StartInstance(t.Context(), srv.URL(), *script); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.agent.Stop() }) // the server may have ended first
	}
	return b
}

// run runs a command and checks its exit code.
func (b *bench) run(code int, args ...string) result {
	b.Helper()
	r := command(b.srv.URL(), args...)
	if r.code != code {
		b.Fatalf("ecs-local %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.err)
	}
	return r
}

func (b *bench) tasks(args ...string) []api.Task {
	b.Helper()
	var out struct{ Tasks []api.Task }
	if err := json.Unmarshal([]byte(b.run(0, append([]string{"ps", "--output", "json"}, args...)...).out), &out); err != nil {
		b.Fatal(err)
	}
	return out.Tasks
}

func (b *bench) matches(text, pattern string) {
	b.Helper()
	if !regexp.MustCompile(pattern).MatchString(text) {
		b.Fatalf("%q does not match\n%s", pattern, text)
	}
}

const web = `{
  // A comment, and a trailing comma below.
  "family": "web",
  "containerDefinitions": [{
    "name": "app", "image": "example/web:1", "memory": 64, "essential": true,
    "portMappings": [{"containerPort": 8080}],
  }],
}`

// file writes a task definition for a test.
func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "task.json")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRunPsStop(t *testing.T) {
	b := newBench(t, &linktest.Script{HostPort: 50001})
	b.matches(b.run(0, "ps").out, `^No tasks`)
	r := b.run(0, "run", file(t, web), "--env", "A=1=2")
	b.matches(r.out, `(?m)s  [0-9a-f]{8}  web:1 +PENDING$`)
	b.matches(r.out, `(?m)s  [0-9a-f]{8}  web:1 +RUNNING +app 127\.0\.0\.1:50001->8080/tcp$`)

	disk := strings.Replace(web, "{", `{"volumes": [{"name": "data", "configuredAtLaunch": true}],`, 1)
	b.matches(b.run(cli.ExitFailed, "run", file(t, disk), "--volume", "data=1,ext4").err, "makes no EBS volumes: `ecs-local up --volumes FOLDER` does")
	b.matches(b.run(cli.ExitFailed, "run", file(t, disk)).err, "volumeConfigurations must configure the volume 'data'")

	tasks := b.tasks()
	if len(tasks) != 1 || tasks[0].LastStatus != "RUNNING" {
		t.Fatalf("got %+v", tasks)
	}
	env := tasks[0].Overrides.ContainerOverrides
	if len(env) != 1 || len(env[0].Environment) != 1 || env[0].Environment[0] != (api.KeyValue{Name: "A", Value: "1=2"}) {
		t.Fatalf("overrides %+v", env)
	}
	id := tasks[0].TaskARN[strings.LastIndexByte(tasks[0].TaskARN, '/')+1:]
	b.matches(b.run(0, "ps").out, `TASK +DEFINITION +STATUS +AGE +CONTAINER +STATE +PORTS\n`+id[:8]+` +web:1 +RUNNING +\d+s +app +RUNNING +127.0.0.1:50001->8080/tcp\n$`)

	b.matches(b.run(1, "stop", "nothing").err, `no task "nothing" in cluster default`)
	r = b.run(0, "stop", id[:4], "--reason", "enough")
	b.matches(r.out, `(?m)web:1 +STOPPED +enough; app exit 137$`)
	b.matches(b.run(0, "ps").out, `^No tasks`)
	b.matches(b.run(0, "ps", "--all").out, id[:8]+` +web:1 +STOPPED +\d+s +app +STOPPED .*enough; exit 137\n$`)
	b.matches(b.run(0, "stop", "--all").out, `No tasks to stop`)
	b.run(0, "stop", id) // again: nothing to do
}

func TestRunManyAndStopAll(t *testing.T) {
	b := newBench(t, &linktest.Script{})
	b.run(0, "run", file(t, web), "--count", "12")
	if n := len(b.tasks()); n != 12 {
		t.Fatalf("%d tasks run, want 12", n)
	}
	// Some digit begins the ids of two tasks at least, unless all differ: then any id is unique.
	seen := map[byte]int{}
	for _, task := range b.tasks() {
		seen[task.TaskARN[strings.LastIndexByte(task.TaskARN, '/')+1]]++
	}
	for digit, n := range seen {
		if n > 1 {
			b.matches(b.run(1, "stop", string(digit)).err, fmt.Sprintf(`means %d tasks: `, n))
			break
		}
	}
	b.run(0, "stop", "--all")
	if n := len(b.tasks()); n != 0 {
		t.Fatalf("%d tasks run, want none", n)
	}
}

func TestRunFormats(t *testing.T) {
	described := `{"taskDefinition": {"taskDefinitionArn": "arn:aws:ecs:us-east-1:1:task-definition/web:7", "family": "web", "revision": 7, "status": "ACTIVE",
		"registeredAt": "2025-01-01T00:00:00Z", "compatibilities": ["EC2"],
		"containerDefinitions": [{"name": "app", "image": "i", "memory": 64, "essential": true}]}, "tags": []}`
	b := newBench(t, &linktest.Script{})
	b.run(0, "run", file(t, described))
	r := b.run(0, "run", file(t, described), "--output", "json")
	var out api.TasksResponse
	if err := json.Unmarshal([]byte(r.out), &out); err != nil || len(out.Tasks) != 1 || out.Tasks[0].LastStatus != "RUNNING" {
		t.Fatalf("got %v from %s", err, r.out)
	}
	if !strings.HasSuffix(out.Tasks[0].TaskDefinitionARN, "web:1") && !strings.HasSuffix(out.Tasks[0].TaskDefinitionARN, "web:2") {
		t.Fatalf("definition %s", out.Tasks[0].TaskDefinitionARN)
	}
}

func TestRunWait(t *testing.T) {
	for code, want := range map[int]int{0: cli.ExitOK, 3: cli.ExitTaskFailed} {
		b := newBench(t, &linktest.Script{ExitCode: func(string) (int, bool) { return code, true }})
		r := b.run(want, "run", file(t, web), "--wait")
		b.matches(r.out, fmt.Sprintf(`(?m)STOPPED .*app exit %d$`, code))
		if code != 0 {
			b.matches(r.err, `task [0-9a-f]{8} failed: .*app exit 3`)
		}
	}
}

func TestRunOfATaskThatDoesNotStart(t *testing.T) {
	b := newBench(t, &linktest.Script{FailStart: func(string) string { return "CannotPullContainerError: no such image" }})
	r := b.run(cli.ExitTaskFailed, "run", file(t, web))
	b.matches(r.err, `CannotPullContainerError: no such image`)
	b.matches(b.run(1, "logs", b.tasks("--all")[0].TaskARN).err, `no output|find container`)
}

func TestRunThatIsNotPlaced(t *testing.T) {
	b := newBench(t, &linktest.Script{Memory: 100})
	b.matches(b.run(cli.ExitNotPlaced, "run", file(t, web), "--count", "3").err, `2 task\(s\) not placed.*\n.*RESOURCE:MEMORY: stop tasks`)
	if n := len(b.tasks()); n != 1 {
		t.Fatalf("%d tasks run, want 1", n)
	}
}

func TestRunWithoutInstances(t *testing.T) {
	b := newBench(t, nil)
	b.matches(b.run(0, "ps").out, `^No tasks`)
	b.matches(b.run(0, "instances").out, `^No container instances`)
	b.run(0, "stop", "--all")
	b.matches(b.run(1, "run", file(t, web)).err, `Cluster not found.\n  An agent makes the cluster`)
	c := client.New(b.srv.URL(), "us-east-1")
	defer c.Close()
	if err := c.Call(t.Context(), "CreateCluster", struct{}{}, nil); err != nil {
		t.Fatal(err)
	}
	r := command(b.srv.URL(), "run", file(t, web))
	b.matches(r.err, `ecs-local up`)
	if r.code != cli.ExitFailed && r.code != cli.ExitNotPlaced {
		t.Fatalf("exit code %d", r.code)
	}
}

func TestUsage(t *testing.T) {
	b := newBench(t, nil)
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"fly"}, `unknown command "fly"`},
		{[]string{"run"}, `accepts 1 arg.*\n +See .ecs-local run --help`},
		{[]string{"run", "--fast", "x"}, `unknown flag: --fast`},
		{[]string{"run", "a", "--wait", "--detach"}, `none of the others can be`},
		{[]string{"run", "/does/not/exist"}, `read task definition: open /does/not/exist`},
		{[]string{"run", file(t, web), "--count", "0"}, `at least one`},
		{[]string{"run", file(t, web), "--env", "A"}, `write NAME=VALUE`},
		{[]string{"run", file(t, web), "--volume", "data"}, `--volume "data": write NAME=GIB or NAME=GIB,FILESYSTEM, such as data=10,ext4`},
		{[]string{"run", file(t, web), "--volume", "=1"}, `write NAME=GIB`},
		{[]string{"run", file(t, "{\n\"family\": 7}")}, `task.json:2:\d+: family: `},
		{[]string{"ps", "--output", "xml"}, `use text or json`},
		{[]string{"stop"}, `name the tasks to stop, or use --all`},
		{[]string{"stop", "a", "--all"}, `name the tasks to stop, or use --all`},
		{[]string{"up", "--log-level", "loud"}, `use debug, info, warn or error`},
	}
	for _, tt := range tests {
		b.matches(b.run(cli.ExitUsage, tt.args...).err, tt.want)
	}
	b.matches(b.run(0, "version").out, `^ecs-local 1.2.3\n$`)
	b.matches(b.run(0, "completion", "bash").out, `ecs-local`)
	b.matches(b.run(0).out, `Exit codes:`)
}

func TestNobodyAnswers(t *testing.T) {
	for _, args := range [][]string{{"ps"}, {"run", file(t, web)}, {"stop", "--all"}, {"down"}, {"down", "--force"}, {"instances"}, {"logs", "x"}} {
		r := command("http://127.0.0.1:1", args...)
		if r.code != cli.ExitUnreachable || !strings.Contains(r.err, "no local ECS answers at http://127.0.0.1:1: start one with `ecs-local up`") {
			t.Errorf("%v: exit code %d, %s", args, r.code, r.err)
		}
	}
}

func TestInstances(t *testing.T) {
	b := newBench(t, &linktest.Script{})
	b.run(0, "run", file(t, web))
	b.matches(b.run(0, "instances").out, `INSTANCE.*MEMORY FREE.*\n[0-9a-f]{8} +ACTIVE +connected +1.105.1 +25.0.8 +4096/4096 +8128/8192 +1 +0\n$`)
	b.matches(b.run(0, "instances", "--output", "json").out, `"containerInstances": \[`)
	b.matches(b.run(1, "instances", "--cluster", "nowhere").err, `aws ecs create-cluster`)
}

func TestDown(t *testing.T) {
	b := newBench(t, &linktest.Script{})
	b.run(0, "run", file(t, web))
	closed := make(chan error, 1)
	go func() {
		<-b.srv.Done()
		closed <- b.srv.Close()
	}()
	arn := b.tasks()[0].TaskARN
	r := b.run(0, "down")
	b.matches(r.out, `(?m)STOPPED +ecs-local down; app exit 137\nThe local ECS at http://127.0.0.1:\d+ has ended.\n$`)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if got := b.agent.Status(arn); got != "STOPPED" {
		t.Fatalf("the agent's last report is %s", got)
	}
	b.run(cli.ExitUnreachable, "ps")
}

func TestDownWhenTasksDoNotStop(t *testing.T) {
	b := newBench(t, &linktest.Script{IgnoreStop: true})
	b.run(0, "run", file(t, web))
	b.matches(b.run(1, "down", "--timeout", "100ms").err, `not stopped after 100ms: [0-9a-f]{8}.*\n.*--force`)
	b.run(0, "ps")
	go func() {
		<-b.srv.Done()
		_ = b.srv.Close() // its result is looked at when the test ends
	}()
	b.run(0, "down", "--timeout", "100ms", "--force")
	b.run(cli.ExitUnreachable, "ps")
}

func TestUpInTheForeground(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out, errOut buffer
	ended := make(chan int, 1)
	go func() {
		env := cli.Environment{Out: &out, Err: &errOut, Version: "1.2.3", Getenv: func(string) string { return "" }}
		ended <- cli.Main(ctx, env, []string{"up", "--listen", "127.0.0.1:0", "--region", "eu-west-1", "--imds"})
	}()
	url := regexp.MustCompile(`serves Amazon ECS at (http://127\.0\.0\.1:\d+) \(eu-west-1, state in memory\)`)
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !url.MatchString(out.String()) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no welcome:\n%s%s", out.String(), errOut.String())
		}
	}
	endpoint := url.FindStringSubmatch(out.String())[1]
	if r := command("", "--endpoint", endpoint, "ps", "--cluster", "none"); r.code != 1 {
		t.Errorf("ps: exit code %d %s%s", r.code, r.out, r.err)
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut.String())
	}
	for _, want := range []string{"ECS_BACKEND_HOST=" + endpoint, "export ECS_LOCAL_ENDPOINT=" + endpoint, "AWS_DEFAULT_REGION=eu-west-1", "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + endpoint} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestUpDetached(t *testing.T) {
	t.Setenv(actAsProgram, "1")
	srv, err := local.Start(context.Background(), local.Options{}) // finds a free port
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(srv.URL(), "http://")
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := &bench{T: t, srv: srv}
	b.matches(b.run(0, "up", "--detach", "--listen", address, "--data-dir", dir).out, `runs in the background as process \d+ and logs to `+regexp.QuoteMeta(dir))
	b.matches(b.run(1, "up", "--detach", "--listen", address, "--data-dir", dir).err, `serving at .* already`)
	b.run(0, "down")
	b.run(cli.ExitUnreachable, "ps")
	b.matches(b.run(1, "up", "--detach", "--listen", "192.0.2.1:1", "--data-dir", dir).err, `the server has ended .exit status 1.: see .*ecs-local.log`)
}
