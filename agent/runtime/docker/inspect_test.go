package docker

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

func intp(n int) *int { return &n }

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t
}

const never = "0001-01-01T00:00:00Z"

func TestInspect(t *testing.T) {
	tests := []struct {
		name, answer string
		want         runtime.Container
	}{
		{
			name: "running",
			answer: `{"Id":"c1","Name":"/ecs-a","Image":"sha256:i","Created":"2026-01-02T03:04:05.5Z",
				"State":{"Status":"running","Running":true,"Pid":42,"StartedAt":"2026-01-02T03:04:06Z","FinishedAt":"` + never + `","ExitCode":0,
					"Health":{"Status":"unhealthy","Log":[{"ExitCode":0,"Output":"old"},{"ExitCode":3,"Output":"last"}]}},
				"Config":{"Labels":{"a":"b"},"Healthcheck":{"Test":["CMD","x"]}},
				"Mounts":[{"Name":"v","Source":"/s","Destination":"/d","RW":false}],
				"NetworkSettings":{"Ports":{"81/udp":null,"80/tcp":[{"HostIp":"::","HostPort":"32768"},{"HostIp":"0.0.0.0","HostPort":"32768"}],"9/sctp":[{"HostIp":"","HostPort":"9"}],"53/udp":[{"HostIp":"0.0.0.0","HostPort":"53"}]},
					"Networks":{"bridge":{"IPAddress":"172.17.0.2","GlobalIPv6Address":"","MacAddress":"02:42","Gateway":"172.17.0.1"}}}}`,
			want: runtime.Container{
				ID: "c1", Name: "ecs-a", Image: "sha256:i", Labels: map[string]string{"a": "b"}, Status: task.ContainerRunning, Pid: 42,
				CreatedAt: at("2026-01-02T03:04:05.5Z"), StartedAt: at("2026-01-02T03:04:06Z"),
				Bindings: []task.PortBinding{
					{BindIP: "0.0.0.0", ContainerPort: 53, HostPort: 53, Protocol: task.UDP},
					{BindIP: "0.0.0.0", ContainerPort: 80, HostPort: 32768, Protocol: task.TCP},
					{BindIP: "::", ContainerPort: 80, HostPort: 32768, Protocol: task.TCP},
				},
				Networks:       map[string]runtime.Network{"bridge": {IPv4: "172.17.0.2", MAC: "02:42", Gateway: "172.17.0.1"}},
				Mounts:         []task.Mount{{Name: "v", Source: "/s", Destination: "/d", ReadOnly: true}},
				HasHealthCheck: true, Health: task.HealthUnhealthy, HealthOutput: "last", HealthExitCode: 3,
			},
		},
		{
			name:   "created",
			answer: `{"Id":"c","Name":"/n","State":{"Status":"created","StartedAt":"` + never + `","FinishedAt":"` + never + `"}}`,
			want:   runtime.Container{ID: "c", Name: "n", Status: task.ContainerCreated},
		},
		{
			name:   "start failed",
			answer: `{"Id":"c","Name":"/n","State":{"Status":"created","Error":"no such file","ExitCode":127,"StartedAt":"` + never + `","FinishedAt":"` + never + `"}}`,
			want:   runtime.Container{ID: "c", Name: "n", Status: task.ContainerStopped, Error: "no such file"},
		},
		{
			name:   "killed for memory",
			answer: `{"Id":"c","Name":"/n","State":{"Status":"exited","OOMKilled":true,"ExitCode":137,"StartedAt":"2026-01-01T00:00:01Z","FinishedAt":"2026-01-01T00:00:02Z"}}`,
			want: runtime.Container{ID: "c", Name: "n", Status: task.ContainerStopped, OOM: true, ExitCode: intp(137),
				StartedAt: at("2026-01-01T00:00:01Z"), FinishedAt: at("2026-01-01T00:00:02Z")},
		},
		{
			name:   "restarted once, runs",
			answer: `{"Id":"c","Name":"/n","State":{"Status":"running","Running":true,"ExitCode":0,"StartedAt":"2026-01-01T00:00:03Z","FinishedAt":"2026-01-01T00:00:02Z"}}`,
			want: runtime.Container{ID: "c", Name: "n", Status: task.ContainerRunning,
				StartedAt: at("2026-01-01T00:00:03Z"), FinishedAt: at("2026-01-01T00:00:02Z")},
		},
		{
			name:   "dead",
			answer: `{"Id":"c","Name":"/n","State":{"Status":"dead","Dead":true,"StartedAt":"` + never + `","FinishedAt":"` + never + `"}}`,
			want:   runtime.Container{ID: "c", Name: "n", Status: task.ContainerStopped},
		},
		{
			name:   "health is starting",
			answer: `{"Id":"c","Name":"/n","State":{"Running":true,"StartedAt":"2026-01-01T00:00:03Z","Health":{"Status":"starting","Log":[null]}}}`,
			want: runtime.Container{ID: "c", Name: "n", Status: task.ContainerRunning, StartedAt: at("2026-01-01T00:00:03Z"),
				HasHealthCheck: true, HealthStarting: true},
		},
		{
			name:   "health check switched off",
			answer: `{"Id":"c","Name":"/n","State":{"Running":true,"StartedAt":"2026-01-01T00:00:03Z"},"Config":{"Healthcheck":{"Test":["NONE"]}}}`,
			want:   runtime.Container{ID: "c", Name: "n", Status: task.ContainerRunning, StartedAt: at("2026-01-01T00:00:03Z")},
		},
	}
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.handle("GET /containers/x/json", rawAnswer(tt.answer))
			got, err := c.Inspect(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, broken := range []string{`{}`, `{"Id":"c"}`, `[`, ``} {
		f.handle("GET /containers/x/json", rawAnswer(broken))
		if _, err := c.Inspect(t.Context(), "x"); err == nil || !strings.HasPrefix(reasonOf(err), "CannotInspectContainerError: ") {
			t.Errorf("%q: %v", broken, err)
		}
	}
}

func TestList(t *testing.T) {
	f := newFake(t)
	f.handle("GET /containers/json", rawAnswer(`[
		{"Id":"c1","Names":["/other/alias","/ecs-a"],"ImageID":"sha256:i","Labels":{"l":"m"},"State":"running","Status":"Up 2 minutes (healthy)","Created":1767323045,
		 "Ports":[{"PrivatePort":80,"PublicPort":8080,"Type":"tcp","IP":"0.0.0.0"},{"PrivatePort":81,"Type":"tcp"}],
		 "NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}},
		{"Id":"c2","Names":["/b"],"State":"exited","Status":"Exited (137) 3 minutes ago"},
		{"Id":"c3","Names":["/c"],"State":"created","Status":"Created"},
		{"Id":"c4","Names":["/d"],"State":"paused","Status":"Up 1 second (unhealthy) (Paused)"},
		{"Id":"c5","Names":null,"State":"removing"},
		{"Id":"c6","Names":["/f"],"State":"running","Status":"Up 1 second (health: starting)"}]`))
	c := f.connect(t, Timeouts{})
	got, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	epoch := time.Unix(0, 0).UTC()
	want := []runtime.Container{
		{
			ID: "c1", Name: "ecs-a", Image: "sha256:i", Labels: map[string]string{"l": "m"}, Status: task.ContainerRunning,
			CreatedAt: time.Unix(1767323045, 0).UTC(), HasHealthCheck: true, Health: task.HealthHealthy,
			Bindings: []task.PortBinding{{BindIP: "0.0.0.0", ContainerPort: 80, HostPort: 8080, Protocol: task.TCP}},
			Networks: map[string]runtime.Network{"bridge": {IPv4: "172.17.0.2"}},
		},
		{ID: "c2", Name: "b", Status: task.ContainerStopped, CreatedAt: epoch},
		{ID: "c3", Name: "c", Status: task.ContainerCreated, CreatedAt: epoch},
		{ID: "c4", Name: "d", Status: task.ContainerRunning, CreatedAt: epoch},
		{ID: "c5", Status: task.ContainerStopped, CreatedAt: epoch},
		{ID: "c6", Name: "f", Status: task.ContainerRunning, CreatedAt: epoch, HasHealthCheck: true, HealthStarting: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	calls := f.seen()
	if len(calls) != 2 || !strings.Contains(calls[1], "all=1") || !strings.Contains(calls[1], "com.amazonaws.ecs.task-arn") {
		t.Errorf("calls %q", calls)
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		text  string
		limit int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"aé", 2, "a"}, {"é", 1, ""}, {strings.Repeat("x", 2000), maxHealthOutput, strings.Repeat("x", 1024)}} {
		if got := cut(tt.text, tt.limit); got != tt.want {
			t.Errorf("cut(%.10q, %d) = %.10q", tt.text, tt.limit, got)
		}
	}
}
