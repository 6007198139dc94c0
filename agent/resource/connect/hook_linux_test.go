package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"ecsagent/agent/runtime"
	"ecsagent/agent/stats"
	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine is Docker with at most one container.
type engine struct {
	has   *runtime.Container
	made  runtime.CreateRequest
	calls []string
	fails error
}

func (e *engine) Create(_ context.Context, r runtime.CreateRequest) (string, error) {
	e.calls, e.made = append(e.calls, "create"), r
	if e.fails == nil {
		e.has = &runtime.Container{ID: "relay", Name: r.Name, Image: "sha256:1", Labels: r.Config.Labels}
	}
	return "relay", e.fails
}

func (e *engine) Start(context.Context, string) error {
	e.calls, e.has.Status = append(e.calls, "start"), task.ContainerRunning
	return nil
}

func (e *engine) Stop(context.Context, string, time.Duration) error {
	e.calls = append(e.calls, "stop")
	return nil
}

func (e *engine) Inspect(_ context.Context, name string) (runtime.Container, error) {
	if e.has == nil || e.has.Name != name {
		return runtime.Container{}, runtime.ErrNotFound
	}
	return *e.has, nil
}

func (e *engine) Remove(context.Context, string) error {
	e.calls, e.has = append(e.calls, "remove"), nil
	return nil
}

// said are the calls since it was asked last.
func (e *engine) said() string {
	defer func() { e.calls = nil }()
	return strings.Join(e.calls, " ")
}

type world struct {
	*Hook
	docker *engine
	image  string // the id of what is there
	dir    string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("folders are given to another user: needs root")
	}
	dir, err := os.MkdirTemp("", "connect") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := &world{docker: &engine{}, image: "sha256:1", dir: dir}
	w.Hook = New(Options{
		Dir: filepath.Join(dir, "run"), LogDir: filepath.Join(dir, "log"), InstanceARN: "arn:instance", Isolated: true, FIPS: true,
		Image: func(context.Context) error { return nil },
		Relay: &Relay{
			Runtime: w.docker, Name: "relay-1", Region: "eu-west-1", Log: zap.NewNop(),
			Endpoint: func(context.Context) string { return "https://ecs-sc.eu-west-1.api.aws" },
			ImageID:  func(context.Context, string) (string, error) { return w.image, nil },
		},
	})
	return w
}

func snapshot(id string) *task.Snapshot {
	spec := &task.Spec{ARN: "arn:task/" + id, NetworkMode: "awsvpc", ENIs: []task.ENI{{}}, Containers: []task.Container{{Name: "app"}, {Name: "proxy"}}}
	spec.Connect = &task.Connect{Container: "proxy", Chosen: map[string]uint16{"egress": 40002}}
	st := &task.State{Containers: make([]task.ContainerState, 2)}
	return st.Snapshot(spec)
}

func (w *world) provision(t *testing.T, s *task.Snapshot) (binds []string, variables map[string]string) {
	t.Helper()
	needs, err := w.Needs(s.Spec)
	if err != nil || len(needs) != 1 || !slices.Equal(needs[0].Containers, []string{"proxy"}) || needs[0].Before != task.ContainerCreated {
		t.Fatalf("needs %+v (%v)", needs, err)
	}
	given, err := w.Provision(t.Context(), s, &needs[0])
	if err != nil {
		t.Fatal(err)
	}
	if preview := w.Preview(s.Spec, &needs[0]); fmt.Sprint(preview) != fmt.Sprint(given) {
		t.Errorf("previewed %v, gave %v", preview, given)
	}
	return given.Shared.Binds, given.Shared.Variables
}

func TestProxy(t *testing.T) {
	w := newWorld(t)
	binds, variables := w.provision(t, snapshot("t1"))
	if want := []string{
		w.dir + "/run/t1:/var/run/ecs/", w.dir + "/run/relay:/var/run/ecs/relay/", "/etc/pki:/etc/pki", w.dir + "/log/t1:/var/log/",
	}; !slices.Equal(binds, want) {
		t.Errorf("binds %q, want %q", binds, want)
	}
	for name, want := range map[string]string{
		"APPMESH_XDS_ENDPOINT": "unix:///var/run/ecs/relay/envoy_xds.sock", "APPNET_AGENT_ADMIN_UDS_PATH": "/var/run/ecs/appnet_admin.sock",
		"APPNET_AGENT_ADMIN_MODE": "uds", "ENVOY_ENABLE_IAM_AUTH_FOR_XDS": "0", "ECS_CONTAINER_INSTANCE_ARN": "arn:instance",
		"APPNET_FIPS_MODE_ENABLED": "true", "APPNET_ENVOY_LOG_DESTINATION": "/var/log/", "APPNET_LISTENER_PORT_MAPPING": `{"egress":40002}`,
		"APPNET_CONTAINER_IP_MAPPING": `{"app":"::1","proxy":"::1"}`,
	} {
		if variables[name] != want {
			t.Errorf("%s=%q, want %q", name, variables[name], want)
		}
	}
	for _, folder := range []string{"run/t1", "run/relay", "log/t1", "log/relay"} {
		info, err := os.Stat(filepath.Join(w.dir, folder))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 || info.Sys().(*syscall.Stat_t).Uid != task.ConnectUser {
			t.Errorf("%s has mode %v and user %d", folder, info.Mode(), info.Sys().(*syscall.Stat_t).Uid)
		}
	}
	logged := snapshot("t2")
	logged.Containers[1].DockerHostConfig = `{"LogConfig":{"Type":"awslogs"}}`
	logged.ENIs[0].IPv4 = []task.Address{{Address: "10.0.0.1"}}
	binds, variables = w.provision(t, logged)
	if _, has := variables["APPNET_ENVOY_LOG_DESTINATION"]; has || len(binds) != 3 || variables["APPNET_CONTAINER_IP_MAPPING"] != "" {
		t.Errorf("with a log driver: %q %q", binds, variables)
	}
}

// There is one relay while there are tasks, made of what counts now.
func TestRelay(t *testing.T) {
	w := newWorld(t)
	step := func(what, want string) {
		t.Helper()
		if got := w.docker.said(); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	w.provision(t, snapshot("t1"))
	step("the first task", "create start")
	c, h := w.docker.made.Config, w.docker.made.HostConfig
	if w.docker.made.Name != "relay-1" || c.User != "20000" || c.Image != task.ConnectImage || h.NetworkMode != "host" || h.RestartPolicy.Name != "unless-stopped" ||
		c.Healthcheck.Test[1] != "/health_check.sh" || !slices.Contains(c.Env, "APPMESH_XDS_ENDPOINT=https://ecs-sc.eu-west-1.api.aws") || !slices.Contains(c.Env, "AWS_REGION=eu-west-1") ||
		!slices.Contains(c.Env, "APPNET_RELAY_LISTENER_UDS_PATH=/var/run/ecs/relay/envoy_xds.sock") || !slices.Contains(h.Binds, w.dir+"/run/relay:/var/run/ecs/relay/") {
		t.Errorf("relay %+v %+v", c, h)
	}
	w.provision(t, snapshot("t2"))
	step("the second task", "")
	w.docker.has.Status = task.ContainerStopped
	w.provision(t, snapshot("t2"))
	step("one that ended", "stop remove create start")
	w.image = "sha256:2"
	w.provision(t, snapshot("t2"))
	step("another image", "stop remove create start")
	w.docker.has.Image = w.image
	w.opts.Relay.Endpoint = func(context.Context) string { return "https://other" }
	w.provision(t, snapshot("t2"))
	step("another endpoint", "stop remove create start")
	w.docker.has.Image = w.image

	clean := func(id string) {
		t.Helper()
		if err := w.CleanUp(t.Context(), snapshot(id), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	clean("t1")
	step("one task left", "")
	clean("t2")
	step("no task left", "stop remove")
	clean("t2")
	step("again", "")
	if left, err := os.ReadDir(filepath.Join(w.dir, "run")); err != nil || len(left) != 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "log", "t1")); err != nil {
		t.Errorf("logs: %v", err)
	}

	w.provision(t, snapshot("t3"))
	w.provision(t, snapshot("t4"))
	w.docker.said()
	known := []string{"t4"}
	sweep := func() {
		t.Helper()
		if err := w.Sweep(t.Context(), func(id string) bool { return slices.Contains(known, id) }); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	if _, err := os.Stat(filepath.Join(w.dir, "run", "t3")); err == nil || w.docker.said() != "" {
		t.Error("the folder of an unknown task stays, or the relay went")
	}
	known = nil
	sweep()
	step("nobody is known", "stop remove")
	w.provision(t, snapshot("t4"))
	w.docker.said()
	if err := os.RemoveAll(filepath.Join(w.dir, "run")); err != nil {
		t.Fatal(err)
	}
	sweep()
	step("after a start of the host", "stop remove")

	w.docker.fails = errors.New("no luck")
	needs, _ := w.Needs(snapshot("t5").Spec)
	if _, err := w.Provision(t.Context(), snapshot("t5"), &needs[0]); err == nil || err.Error() != "Service Connect relay: no luck" {
		t.Error(err)
	}
	w.opts.Image = func(context.Context) error { return errors.New("no archive") }
	if _, err := w.Provision(t.Context(), snapshot("t5"), &needs[0]); err == nil || err.Error() != "image of the Service Connect proxy: no archive" {
		t.Error(err)
	}
}

func TestDrain(t *testing.T) {
	w := newWorld(t)
	s := snapshot("t1")
	w.provision(t, s)
	if err := w.Drain(t.Context(), s, nil); err != nil {
		t.Errorf("a proxy that never ran: %v", err)
	}
	s.State.Containers[1].Known = task.ContainerRunning
	l, err := net.Listen("unix", filepath.Join(w.dir, "run", "t1", adminSocket))
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	broken := false
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if asked = append(asked, r.Host+r.URL.String()); len(asked) == 1 {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
		value := "4"
		if broken {
			value = "x"
		}
		_, _ = io.WriteString(rw, "# TYPE a counter\na "+value+"\n") // who asks sees it
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l) // until it is closed
	}()
	err = w.Drain(t.Context(), s, nil)
	drained := slices.Clone(asked)
	asked = append(asked, "")
	groups, failed := w.Metrics(t.Context(), s)
	if want := []stats.ConnectGroup{{Metrics: []stats.ConnectMetric{{Name: "a", Values: []float64{4}, Counts: []int64{1}}}}}; failed != nil || !cmp.Equal(groups, want) ||
		asked[len(asked)-1] != "localhost/stats/prometheus?usedonly&filter=metrics_extension&delta" {
		t.Errorf("metrics %+v, %v; asked %q", groups, failed, asked)
	}
	broken = true
	if _, err := w.Metrics(t.Context(), s); err == nil || !strings.Contains(err.Error(), `value "x" of a: want a number`) {
		t.Error(err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	<-ended
	if want := "localhost/drain_listeners?inboundonly"; err != nil || !slices.Equal(drained, []string{want, want}) {
		t.Errorf("asked %q, %v", drained, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Drain(ctx, s, nil); err == nil {
		t.Error("nobody was there, and the task was drained")
	}
}
