package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ecsagent/agent/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func settings(t *testing.T, lines ...string) *config.Config {
	t.Helper()
	cfg, _, err := config.Load(t.Context(), config.Sources{GOOS: "linux", Environ: append([]string{"AWS_DEFAULT_REGION=us-east-1"}, lines...)})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestRequest(t *testing.T) {
	a := Agent{
		Image: "agent:1", Config: settings(t, "DOCKER_HOST=unix:///var/run/docker.sock"), Notify: "/run/ecs-init/notify/socket",
		Environ: []string{"PATH=/x", "ECS_CLUSTER=prod", "HTTPS_PROXY=http://p", "WATCHDOG_USEC=60", "WATCHDOG_PID=7", "NOTIFY_SOCKET=/run/systemd/notify", "AWS_DEFAULT_REGION=r", "LISTEN_PID=7"},
		Exists:  func(path string) bool { return path != "/lib64" && path != "/etc/pki" },
	}
	r := a.request()
	if want := []string{"ECS_CLUSTER=prod", "HTTPS_PROXY=http://p", "WATCHDOG_USEC=60", "AWS_DEFAULT_REGION=r", "NOTIFY_SOCKET=/run/ecs-init/notify/socket"}; !slices.Equal(r.Env, want) {
		t.Errorf("environment %q, want %q", r.Env, want)
	}
	for _, want := range []string{"/var/run:/var/run:rw", "/var/run/ecs:/var/run/ecs:rw", "/var/lib/ecs/data:/var/lib/ecs/data:rw", "/var/log/ecs:/var/log/ecs:rw",
		"/etc/ecs:/etc/ecs:rw", "/var/cache/ecs:/var/cache/ecs:rw", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "/sbin:/host/sbin:ro", "/run/ecs-init/notify:/run/ecs-init/notify:rw"} {
		if !slices.Contains(r.HostConfig.Binds, want) {
			t.Errorf("no bind %s in %q", want, r.HostConfig.Binds)
		}
	}
	seen := map[string]bool{}
	for _, b := range r.HostConfig.Binds {
		parts := strings.Split(b, ":")
		if len(parts) != 3 || seen[parts[1]] || parts[0] == "/lib64" || strings.HasPrefix(parts[0], "/root") {
			t.Errorf("bind %s", b)
		}
		seen[parts[1]] = true
	}
	h := r.HostConfig
	if h.NetworkMode != "host" || h.PidMode != "host" || h.UsernsMode != "host" || !slices.Equal(h.CapAdd, []string{"NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"}) {
		t.Errorf("%+v", h)
	}
	a.Config = settings(t, "ECS_GMSA_SUPPORTED=true")
	if !slices.Contains(a.request().HostConfig.Binds, "/var/credentials-fetcher/socket:/var/credentials-fetcher/socket:rw") {
		t.Errorf("no socket of credentials-fetcher: %q", a.request().HostConfig.Binds)
	}
	a.Config = settings(t, "ECS_EXTERNAL=true")
	if !slices.Contains(a.request().HostConfig.Binds, "/root/.aws:/root/.aws:ro") {
		t.Errorf("no credentials of an external instance: %q", a.request().HostConfig.Binds)
	}
}

func TestEngineAddress(t *testing.T) {
	if e, err := NewEngine("unix:///x/d.sock"); err != nil || e != "/x/d.sock" {
		t.Errorf("%q, %v", e, err)
	}
	if _, err := NewEngine("tcp://127.0.0.1:2375"); err == nil || !strings.Contains(err.Error(), "want unix://PATH") {
		t.Errorf("%v", err)
	}
}

// engine plays a Docker engine that answers from a table of "METHOD path" without queries.
func engine(t *testing.T, answers map[string]string) (Engine, func() []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "d.sock")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 100)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what := r.Method + " " + r.URL.Path
		asked <- what
		answer, ok := answers[what]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"message":"no such thing"}`
		}
		if text, bad := strings.CutPrefix(answer, "500 "); bad {
			w.WriteHeader(http.StatusInternalServerError)
			answer = text
		}
		fmt.Fprint(w, answer)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return Engine(path), func() (all []string) {
		for {
			select {
			case a := <-asked:
				all = append(all, a)
			default:
				return all
			}
		}
	}
}

func frame(stream byte, text string) string {
	return string([]byte{stream, 0, 0, 0, 0, 0, 0, byte(len(text))}) + text
}

func TestRun(t *testing.T) {
	const ours = `{"Id":"0123456789abcdef","Config":{"Labels":{"` + label + `":"true"}}}`
	base := map[string]string{
		"POST /containers/create":             `{"Id":"c1","Warnings":["careful"]}`,
		"POST /containers/c1/wait":            `{"StatusCode":0}`,
		"POST /containers/c1/start":           ``,
		"GET /containers/c1/logs":             frame(1, "hello\n") + frame(2, "oh\n"),
		"GET /images/agent:1/json":            `{}`,
		"DELETE /containers/0123456789abcdef": ``,
	}
	for name, c := range map[string]struct {
		change    map[string]string
		code      int // of the agent; 0: it ended well
		err       string
		want      []string
		out, told string
	}{
		"ends well":   {nil, 0, "", []string{"POST /containers/create", "POST /containers/c1/start"}, "hello\n", "Docker warns: careful\noh\n"},
		"after one":   {map[string]string{"GET /containers/ecs-agent/json": ours}, 0, "", []string{"DELETE /containers/0123456789abcdef"}, "hello\n", ""},
		"of somebody": {map[string]string{"GET /containers/ecs-agent/json": `{"Id":"0123456789abcdef"}`}, 0, `container 0123456789ab is called "ecs-agent" and is not of ecs-init: rename or remove it`, nil, "", ""},
		"fails":       {map[string]string{"POST /containers/c1/wait": `{"StatusCode":5}`}, 5, "the agent ended with exit code 5", nil, "", ""},
		"no image":    {map[string]string{"POST /containers/create": `500 {"message":"no such image"}`}, 0, `make the agent's container from image "agent:1": Docker answers: no such image`, nil, "", ""},
		"no start":    {map[string]string{"POST /containers/c1/start": `500 {"message":"no"}`}, 0, "start the agent's container c1: Docker answers: no", nil, "", ""},
		"wait fails":  {map[string]string{"POST /containers/c1/wait": `{"StatusCode":0,"Error":{"Message":"lost"}}`}, 0, "wait for the agent's container: lost", nil, "", ""},
		"half a wait": {map[string]string{"POST /containers/c1/wait": `{"Stat`}, 0, "wait for the agent's container: unexpected EOF", nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			answers := map[string]string{}
			for _, m := range []map[string]string{base, c.change} {
				for k, v := range m {
					answers[k] = v
				}
			}
			e, asked := engine(t, answers)
			var out, told bytes.Buffer
			err := Agent{Image: "agent:1", Config: settings(t)}.Run(t.Context(), e, &out, &told)
			ended := (*ExitError)(nil)
			if got := fmt.Sprint(err); c.err == "" && err != nil || c.err != "" && got != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if errors.As(err, &ended) != (c.code != 0) || ended != nil && ended.ExitCode() != c.code {
				t.Errorf("exit code of %v, want %d", err, c.code)
			}
			all := asked()
			for _, want := range c.want {
				if !slices.Contains(all, want) {
					t.Errorf("asked %q, not %q", all, want)
				}
			}
			if c.out != "" && out.String() != c.out || c.told != "" && told.String() != c.told {
				t.Errorf("wrote %q and %q, want %q and %q", out.String(), told.String(), c.out, c.told)
			}
		})
	}
}

func TestPrepare(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(archive, []byte("image"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		answers map[string]string
		archive string
		err     string
	}{
		"there":         {map[string]string{"GET /images/agent:1/json": "{}"}, "/none", ""},
		"no archive":    {nil, "/none", `image "agent:1" is not in Docker, and there is no /none to load it from`},
		"another image": {map[string]string{"POST /images/load": `{"stream":"Loaded"}`}, archive, archive + ` was loaded and has no image "agent:1"`},
		"late error":    {map[string]string{"POST /images/load": `{"stream":"x"}{"error":"disk full"}`}, archive, "load " + archive + ": Docker says: disk full"},
		"refused":       {map[string]string{"POST /images/load": `500 {"message":"no"}`}, archive, "load " + archive + ": Docker answers: no"},
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := engine(t, c.answers)
			err := Agent{Image: "agent:1"}.Prepare(t.Context(), e, c.archive)
			if c.err == "" && err != nil || c.err != "" && fmt.Sprint(err) != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func TestRelay(t *testing.T) {
	dir := t.TempDir()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "manager"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	path := filepath.Join(dir, "notify", "socket")
	relay, err := OpenRelay(path, filepath.Join(dir, "manager"))
	if err != nil {
		t.Fatal(err)
	}
	agent, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	for _, c := range []struct{ says, hears string }{
		{"READY=1", "READY=1"}, {"MAINPID=7\nSTATUS=all is well", "STATUS=all is well"}, {"WATCHDOG=1", "WATCHDOG=1"}, {"FDSTORE=1\nFDNAME=x\nSTOPPING=1", "STOPPING=1"},
	} {
		if _, err := agent.Write([]byte(c.says)); err != nil {
			t.Fatal(err)
		}
		_ = manager.SetReadDeadline(time.Now().Add(time.Minute))
		heard := make([]byte, 100)
		n, err := manager.Read(heard)
		if err != nil || string(heard[:n]) != c.hears {
			t.Errorf("of %q heard %q, %v", c.says, heard[:n], err)
		}
	}
	for _, kept := range []string{"WATCHDOG=trigger", "FDSTORE=1", "MAINPID=1", "", "RELOADING=1"} {
		if got := relayed(kept); got != "" {
			t.Errorf("of %q %q is handed on", kept, got)
		}
	}
	if err := relay.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	if _, err := OpenRelay(path, filepath.Join(dir, "nobody")); err == nil {
		t.Error("nobody listens, and no error")
	}
}

// The request is what the engine's API calls it.
func TestRequestIsJSON(t *testing.T) {
	text, err := json.Marshal(Agent{Image: "agent:1", Config: settings(t)}.request())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"Image":"agent:1"`, `"HostConfig":{"NetworkMode":"host"`, `"PidMode":"host"`, `"LogConfig":{"Type":"json-file"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s has no %s", text, want)
		}
	}
}
