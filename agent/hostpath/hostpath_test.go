package hostpath

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"ecsagent/agent/config"
	rules "ecsagent/platform_linux/hostrules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const networks = `[{"Name":"other","Options":{}},{"Name":"bridge","Options":{"com.docker.network.bridge.default_bridge":"true","com.docker.network.bridge.name":"br-ecs"}},{"Name":"x","Options":null}]`

func TestBridge(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the bridge is one of Linux")
	}
	answer, status, asked := networks, http.StatusOK, 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path != "/networks" || r.URL.Query().Get("filters") != `{"driver":["bridge"]}` {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	socket := filepath.Join(t.TempDir(), "d.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server.Listener = listener
	server.Start()
	defer server.Close()
	for _, c := range []struct {
		answer     string
		status     int
		want, fail string
	}{
		{networks, 200, "br-ecs", ""},
		{"[]", 200, "", ""},
		{"null", 200, "", ""},
		{"[1]", 200, "", "its list of networks"},
		{"", 500, "", "it answers 500"},
	} {
		answer, status = c.answer, c.status
		d := docker{endpoint: "unix://" + socket}
		got, err := d.bridge(t.Context())
		if got != c.want || (err == nil) != (c.fail == "") || err != nil && !strings.Contains(err.Error(), c.fail) {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	answer, status, asked = networks, 200, 0
	d := docker{endpoint: "unix://" + socket}
	for range 3 {
		if got, err := d.bridge(t.Context()); got != "br-ecs" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	for _, endpoint := range []string{"unix://" + socket + "x", "npipe:////./pipe/x", "tcp://", "\x00"} {
		if _, err := (&docker{endpoint: endpoint}).bridge(t.Context()); err == nil {
			t.Errorf("%q answers", endpoint)
		}
	}
}

func TestPlanWithoutDocker(t *testing.T) {
	p := Planner{Config: &config.Config{}, Bridge: func(context.Context) (string, error) { return "", errors.New("no") }}
	plan, err := p.Plan(t.Context())
	if err != nil || len(plan.Rules) == 0 {
		t.Errorf("%+v, %v", plan, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Plan(ended); err == nil {
		t.Error("planned after the end")
	}
}

func TestOptions(t *testing.T) {
	cfg := &config.Config{
		TaskEndpointAddress: "127.0.0.1:8079", IntrospectionAddress: ":8078",
		SkipLocalhostTrafficFilter: true, AllowOffhostIntrospection: true, BridgeBlockIMDS: true,
	}
	got := Options(cfg, rules.Host{Uplinks: []string{"ens5"}, IPv6: true}, "docker0")
	if got.TaskPort != 8079 || got.IntrospectionPort != 8078 || got.Bridge != "docker0" || !got.IPv6 || !got.LoopbackRoute ||
		!got.SkipLocalhostFilter || !got.OffhostIntrospection || !got.BlockMetadata || len(got.Uplinks) != 1 {
		t.Errorf("%+v", got)
	}
	for _, address := range []string{"", "127.0.0.1:0", "x", "localhost:http"} {
		if p := port(address); p != 0 {
			t.Errorf("%q: port %d", address, p)
		}
	}
}

func FuzzDefaultBridge(f *testing.F) {
	f.Add([]byte(networks))
	f.Add([]byte(`{}`))
	f.Fuzz(func(_ *testing.T, body []byte) { _, _ = defaultBridge(body) })
}

func TestUsualBridge(t *testing.T) {
	if got := usualBridge(func(string) (*net.Interface, error) { return nil, nil }); got != "docker0" {
		t.Error(got)
	}
	if got := usualBridge(func(string) (*net.Interface, error) { return nil, errors.New("none") }); got != "" {
		t.Error(got)
	}
}
