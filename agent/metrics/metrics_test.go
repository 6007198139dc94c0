package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"ecsagent/agent/doctor"
	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sources are a host with three tasks and a full disk.
func sources(t *testing.T) Sources {
	snapshot := func(known, desired task.Status, containers ...task.ContainerStatus) *task.Snapshot {
		s := &task.Snapshot{Spec: &task.Spec{}, State: task.State{Known: known, Desired: desired}}
		for _, c := range containers {
			s.State.Containers = append(s.State.Containers, task.ContainerState{Known: c})
		}
		return s
	}
	d := doctor.New(doctor.Options{Log: zap.NewNop(), Checks: []doctor.Check{
		{Name: "disk", Type: doctor.Agent, Run: func(context.Context) ([]doctor.Finding, bool) {
			return []doctor.Finding{doctor.DiskFull.Found("/secret/path")}, true
		}},
		{Name: "docker", Type: doctor.ContainerRuntime, Run: func(context.Context) ([]doctor.Finding, bool) { return nil, true }},
		{Name: "clock", Type: doctor.Agent, Run: func(context.Context) ([]doctor.Finding, bool) { return nil, false }},
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	for d.Report().Number == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return Sources{
		Tasks: func() []*task.Snapshot {
			return []*task.Snapshot{
				snapshot(task.Running, task.Running, task.ContainerRunning, task.ContainerRunning),
				snapshot(task.Running, task.Stopped, task.ContainerStopped), snapshot(task.None, task.Running, task.ContainerPulled),
			}
		},
		Timelines: func() []*task.Timeline {
			return []*task.Timeline{
				{Waits: []task.Waiting{{For: "resources"}}},
				{Waits: []task.Waiting{{For: "image"}, {For: "image"}, {For: "something new"}}},
			}
		},
		Connected: map[string]func() bool{"acs": func() bool { return true }, "tcs": func() bool { return false }},
		Owed:      func() int { return 3 }, CredentialSets: func() (int, int) { return 4, 1 },
		Health: d.Report,
	}
}

// used is a meter that has counted a little of everything.
func used(t *testing.T) *Meter {
	m := New("1.2.3", "abcdef01")
	m.Read(sources(t))
	m.DockerCall("container_create", 3*time.Millisecond, false)
	m.DockerCall("container_create", time.Minute, true)
	m.Pulled(2*time.Second, nil)
	m.Pulled(time.Second, errors.New("denied"))
	m.Dialed("acs", nil)
	m.Dialed("acs", errors.New("refused"))
	for _, status := range []int{200, 200, 400, 418} {
		m.CredentialsServed(status)
	}
	return m
}

func scrape(t *testing.T, m *Meter) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	text := scrape(t, used(t))
	for _, want := range []string{
		`ecs_agent_tasks{phase="running"} 1`, `ecs_agent_tasks{phase="stopping"} 1`, `ecs_agent_tasks{phase="pending"} 1`, `ecs_agent_tasks{phase="stopped"} 0`,
		`ecs_agent_containers{status="running"} 2`, `ecs_agent_containers{status="stopped"} 1`,
		`ecs_agent_tasks_waiting{for="resources"} 1`, `ecs_agent_tasks_waiting{for="image"} 1`, `ecs_agent_tasks_waiting{for="other"} 1`,
		`ecs_agent_docker_call_seconds_count{operation="container_create"} 2`, `ecs_agent_docker_call_seconds_bucket{operation="container_create",le="0.005"} 1`,
		`ecs_agent_docker_call_errors_total{operation="container_create"} 1`,
		`ecs_agent_image_pulls_total{result="pulled"} 1`, `ecs_agent_image_pulls_total{result="failed"} 1`, `ecs_agent_image_pull_seconds_sum 2`,
		`ecs_agent_connected{channel="acs"} 1`, `ecs_agent_connected{channel="tcs"} 0`,
		`ecs_agent_connection_attempts_total{channel="acs",result="failed"} 1`,
		`ecs_agent_outbox_tasks 3`, `ecs_agent_credentials{status="valid"} 4`, `ecs_agent_credentials{status="expired"} 1`,
		`ecs_agent_credentials_requests_total{status="200"} 2`, `ecs_agent_credentials_requests_total{status="other"} 1`,
		`ecs_agent_health{check="disk"} 0`, `ecs_agent_health{check="docker"} 1`, `ecs_agent_condition{code="disk-full",severity="impairment"} 1`,
		`ecs_agent_condition{code="clock-wrong",severity="impairment"} 0`, `ecs_agent_build_info{commit="abcdef01",version="1.2.3"} 1`,
		`process_start_time_seconds `, `go_goroutines `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not there", want)
		}
	}
	for _, not := range []string{`check="clock"`, "/secret/path"} {
		if strings.Contains(text, not) {
			t.Errorf("%q is there", not)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// Whatever happens on the host, the series are no more than these.
func TestSeriesAreBounded(t *testing.T) {
	m := used(t)
	for status := range 1000 {
		m.CredentialsServed(status)
	}
	own := regexp.MustCompile(`(?m)^ecs_agent_`).FindAllString(scrape(t, m), -1)
	if len(own) > 120 {
		t.Errorf("%d series with one kind of Docker call", len(own))
	}
}

func TestPromtoolAgrees(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("needs promtool: scripts/deps test")
	}
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(scrape(t, used(t)))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestOffCountsNothing(t *testing.T) {
	var m *Meter
	m.Read(Sources{})
	if n := testing.AllocsPerRun(100, func() {
		m.DockerCall("ping", time.Second, true)
		m.Pulled(time.Second, nil)
		m.Dialed("acs", nil)
		m.CredentialsServed(200)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- used(t).Serve(ctx, l, zaptest.NewLogger(t)) }()
	for path, want := range map[string]int{"/metrics": 200, "/": 404, "/metrics/x": 404} {
		response, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
	response, err := http.Post("http://"+l.Addr().String()+"/metrics", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", response.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
