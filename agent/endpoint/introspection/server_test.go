package introspection

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type tasks []*task.Snapshot

func (t tasks) Snapshots() []*task.Snapshot { return t }

func (t tasks) Snapshot(arn string) *task.Snapshot {
	for _, s := range t {
		if s.ARN == arn {
			return s
		}
	}
	return nil
}

func (t tasks) Timeline(arn string) *task.Timeline {
	for _, line := range t.Timelines() {
		if line.ARN == arn {
			line.Entries = []task.Entry{{At: line.Since, Container: "nginx", Event: "status", Detail: "NONE -> PULLED"}}
			return line
		}
	}
	return nil
}

func (t tasks) Timelines() (all []*task.Timeline) {
	since := time.Date(2024, 5, 1, 12, 0, 0, 0, time.FixedZone("x", 3600))
	for _, s := range t {
		all = append(all, &task.Timeline{Snapshot: s, Since: since, Waits: []task.Waiting{
			{Container: "nginx", For: "dependency", Detail: "health of db", Since: since},
		}})
	}
	return all
}

func snapshot(arn string, ids ...string) *task.Snapshot {
	spec := &task.Spec{ARN: arn, Family: "web", Version: "17"}
	state := task.State{Desired: task.Running, Known: task.Running}
	for _, id := range ids {
		spec.Containers = append(spec.Containers, task.Container{Name: "nginx", Image: "nginx:1", Essential: true,
			Ports: []task.PortMapping{{ContainerPort: 80, Protocol: task.TCP}, {Range: "90-91", Protocol: task.UDP}}})
		state.Containers = append(state.Containers, task.ContainerState{DockerName: "ecs-web-17-" + id, RuntimeID: id})
	}
	return &task.Snapshot{Spec: spec, State: state}
}

func options(t *testing.T, list ...*task.Snapshot) Options {
	return Options{
		Cluster: func() string { return "prod" }, InstanceARN: func() string { return "arn:ci" },
		Version: "Amazon ECS Agent - v1.0.0 (abcdef01)", License: "free", Tasks: tasks(list), Log: zaptest.NewLogger(t),
	}
}

func TestTimeline(t *testing.T) {
	arn := "arn:aws:ecs:eu-west-1:111122223333:task/demo/0123"
	plain := snapshot("arn:1", "a")
	o := options(t, snapshot(arn, "a"), plain)
	shown := func(arn string) string {
		return `"Arn":"` + arn + `","Family":"web","Version":"17","KnownStatus":"RUNNING","DesiredStatus":"RUNNING",` +
			`"Since":"2024-05-01T11:00:00Z","Waits":[{"Container":"nginx","For":"dependency","Detail":"health of db","Since":"2024-05-01T11:00:00Z"}]`
	}
	line := `{` + shown(arn) + `,"Timeline":[{"At":"2024-05-01T11:00:00Z","Container":"nginx","Event":"status","Detail":"NONE -\u003e PULLED"}]}`
	listing := `{"AvailableCommands":["/v1/metadata","/v1/tasks","/license"]}`
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/v1/tasks/" + arn + "/timeline", 200, line},
		{"/v1/tasks/" + url.PathEscape(arn) + "/timeline", 200, line},
		{"/v1/tasks/0123/timeline", 200, line},
		{"/v1/tasks/012/timeline", 404, `{"Error":"no such task: 012"}`},
		{"/v1/tasks/" + arn + "4/timeline", 404, `{"Error":"no such task: ` + arn + `4"}`},
		{"/v1/tasks/waits", 200, `{"Tasks":[{` + shown(arn) + `},{` + shown("arn:1") + `}]}`},
		{"/v1/tasks/timeline", 200, listing},
		{"/v1/tasks/", 200, listing},
		{"/v1/tasks/" + arn, 200, listing},
	} {
		w := httptest.NewRecorder()
		Handler(o).ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s: %d %s\nwant %d %s", c.path, w.Code, w.Body, c.status, c.body)
		}
	}
}

func TestRoutes(t *testing.T) {
	long := "3f1b2c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809"
	none := `{"Arn":"","KnownStatus":"","Family":"","Version":"","Containers":null}`
	ports := `"Ports":[{"ContainerPort":80,"Protocol":"tcp"},{"ContainerPort":90,"Protocol":"udp"},{"ContainerPort":91,"Protocol":"udp"}]`
	one := `{"Arn":"arn:1","DesiredStatus":"RUNNING","KnownStatus":"RUNNING","Family":"web","Version":"17","Containers":[` +
		`{"DockerId":"` + long + `","DockerName":"ecs-web-17-` + long + `","Name":"nginx","Image":"nginx:1","ImageID":"",` + ports + `}]}`
	o := options(t, snapshot("arn:1", long), snapshot("arn:2", "3e00", "3e01"))
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/v1/metadata", 200, `{"Cluster":"prod","ContainerInstanceArn":"arn:ci","Version":"Amazon ECS Agent - v1.0.0 (abcdef01)"}`},
		{"/v1/tasks?taskarn=arn:1", 200, one},
		{"/v1/tasks?dockerid=" + long, 200, one},
		{"/v1/tasks?dockerid=3f1b", 200, one},
		{"/v1/tasks?dockerid=" + long[:13], 404, none},
		{"/v1/tasks?dockerid=3e", 400, none},
		{"/v1/tasks?dockerid=", 400, none},
		{"/v1/tasks?taskarn=", 404, none},
		{"/v1/tasks?taskarn=arn:1&dockerid=3", 400, none},
		{"/license", 200, "free"},
		{"/v1/metadata/", 200, `{"AvailableCommands":["/v1/metadata","/v1/tasks","/license"]}`},
		{"/", 200, `{"AvailableCommands":["/v1/metadata","/v1/tasks","/license"]}`},
	} {
		w := httptest.NewRecorder()
		Handler(o).ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s: %d %s\nwant %d %s", c.path, w.Code, w.Body, c.status, c.body)
		}
	}
}

func TestProfilesAreServedOnlyWhenAskedFor(t *testing.T) {
	for _, profiling := range []bool{false, true} {
		o := options(t)
		o.Profiling = profiling
		w := httptest.NewRecorder()
		Handler(o).ServeHTTP(w, httptest.NewRequest("GET", "/debug/pprof/cmdline", nil))
		if served := !strings.HasPrefix(w.Body.String(), `{"AvailableCommands":`); served != profiling {
			t.Errorf("profiling %v: %s", profiling, w.Body)
		}
	}
}

func TestEmptyList(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(options(t)).ServeHTTP(w, httptest.NewRequest("GET", "/v1/tasks", nil))
	if got := w.Body.String(); got != `{"Tasks":[]}` {
		t.Errorf("no tasks show as %s", got)
	}
}

func TestRenderedDetails(t *testing.T) {
	s := snapshot("arn:1", "a1")
	s.State.Known = task.Stopped
	c := &s.State.Containers[0]
	c.StartedAt = time.Date(2026, 2, 3, 10, 11, 13, 5e8, time.FixedZone("x", 3600))
	c.Bindings = []task.PortBinding{{BindIP: "0.0.0.0", ContainerPort: 80, HostPort: 32768, Protocol: task.TCP}}
	c.Mounts = []task.Mount{{Name: "v", Source: "/s", Destination: "/d"}}
	s.Spec.Containers[0].Restart = &task.RestartPolicy{Enabled: true}
	s.Spec.Containers = append(s.Spec.Containers, task.Container{Name: "~internal~ecs~pause", Type: task.CNIPause})
	s.State.Containers = append(s.State.Containers, task.ContainerState{})
	w := httptest.NewRecorder()
	Handler(options(t, s)).ServeHTTP(w, httptest.NewRequest("GET", "/v1/tasks?taskarn=arn:1", nil))
	want := `{"Arn":"arn:1","KnownStatus":"STOPPED","Family":"web","Version":"17","Containers":[` +
		`{"DockerId":"a1","DockerName":"ecs-web-17-a1","Name":"nginx","Image":"nginx:1","ImageID":"","StartedAt":"2026-02-03T09:11:13.5Z",` +
		`"Ports":[{"ContainerPort":80,"Protocol":"tcp","HostPort":32768}],"Volumes":[{"DockerName":"v","Source":"/s","Destination":"/d"}],"RestartCount":0}]}`
	if got := w.Body.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, options(t)) }()
	response, err := http.Get("http://" + l.Addr().String() + "/license")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if string(body) != "free" {
		t.Errorf("license %q", body)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
