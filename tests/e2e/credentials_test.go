package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ecsagent/tests/harness"
)

// sdkReport is what tests/sdkload prints.
type sdkReport struct {
	Fetches  int
	Failures []string
	Keys     []string
	Source   string
	Slowest  time.Duration
}

// load starts the AWS SDK getting credentials from a URL, ten times a second; end ends
// it and returns how that went.
func (e *env) load(url string) (end func() sdkReport) {
	e.t.Helper()
	cmd := exec.CommandContext(e.ctx, filepath.Join(shared.programs, "sdkload"))
	cmd.Env = []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + url, "AWS_EC2_METADATA_DISABLED=true", "HOME=" + e.Dir}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	return func() (r sdkReport) {
		e.t.Helper()
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			e.t.Fatalf("sdkload: %v: %s", err, errs.String())
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			e.t.Fatalf("sdkload: %v: %s", err, out.String())
		}
		return r
	}
}

// kills is how often the agent is killed: 20 times to see what is promised, fewer where
// time counts.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("ECS_TEST_KILLS")); err == nil {
		return n
	}
	return 4
}

// Applications do not notice that the agent is killed and away for a second each time:
// the socket is its parent's, and credentials outlive it in memory.
func TestCredentialsWhileTheAgentIsKilled(t *testing.T) {
	e := prepared(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	e.Socket, e.TaskEndpoint = socket, l.Addr().String()
	e.started()
	task := e.running(withRoles(bridged(sleeper("app"))))
	uri := "http://" + e.TaskEndpoint + e.variable(task, "app", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")

	// ECS does not answer while the agent comes back: nothing is sent again.
	end := e.load(uri)
	if _, err := e.AwaitAgent(e.ctx); err != nil {
		t.Fatal(err)
	}
	for range kills() {
		awaitAnswer(t, e.ctx, uri)
		e.Agent.Kill()
		rest(e.ctx, time.Second)
		if err := e.StartAgent(); err != nil {
			t.Fatal(err)
		}
	}
	awaitAnswer(t, e.ctx, uri)
	r := end()
	t.Logf("%d fetches through %d kills, the slowest took %v", r.Fetches, kills(), r.Slowest)
	for _, f := range r.Failures {
		t.Error("failed fetch:", f)
	}
	if r.Fetches < 10*kills() || len(r.Keys) == 0 {
		t.Errorf("%+v", r)
	}
}

func awaitAnswer(t *testing.T, ctx context.Context, uri string) {
	t.Helper()
	err := harness.Poll(ctx, "credentials", func(ctx context.Context) (bool, error) {
		r, err := http.NewRequestWithContext(ctx, "GET", uri, nil)
		if err != nil {
			return false, err
		}
		reply, err := http.DefaultClient.Do(r)
		if err != nil {
			return false, err
		}
		_ = reply.Body.Close()
		return reply.StatusCode == 200, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Clients that nobody here wrote get credentials, and new ones before the old ones end.
func TestRealClientsGetAndRefreshCredentials(t *testing.T) {
	e := prepared(t)
	e.Options.Local = []string{"--credentials-life", "6s"}
	e.started()
	task := e.running(withRoles(bridged(sleeper("app"))))
	uri := "http://" + e.TaskEndpoint + e.variable(task, "app", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
	end := e.load(uri)

	program := "/usr/bin/aws"
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath("aws"); err != nil {
			program = ""
		}
	}
	if program != "" {
		cmd := exec.CommandContext(e.ctx, program, "configure", "list")
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + e.Dir, "AWS_DEFAULT_REGION=" + harness.Region, "AWS_EC2_METADATA_DISABLED=true",
			"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + uri,
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "container-role") {
			t.Errorf("aws configure list: %v\n%s", err, out)
		}
		// And they sign a call that ECS takes.
		cmd = exec.CommandContext(e.ctx, program, "ecs", "--endpoint-url", "http://"+e.LocalAddress, "list-tasks", "--cluster", e.Cluster)
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + e.Dir, "AWS_DEFAULT_REGION=" + harness.Region, "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
			"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + uri,
		}
		if out, err = cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), task.TaskARN) {
			t.Errorf("aws ecs list-tasks: %v\n%s", err, out)
		}
	}
	rest(e.ctx, 7*time.Second)
	r := end()
	for _, f := range r.Failures {
		t.Error("failed fetch:", f)
	}
	if len(r.Keys) < 2 || !strings.HasPrefix(r.Keys[0], "ASIALOCAL") || r.Source != "CredentialsEndpointProvider" {
		t.Errorf("keys %v from %q", r.Keys, r.Source)
	}
}
