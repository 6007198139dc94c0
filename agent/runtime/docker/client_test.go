package docker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

func newRequest(name string, labels map[string]string) runtime.CreateRequest {
	return runtime.CreateRequest{Name: name, Config: &container.Config{Image: "i", Labels: labels}, HostConfig: &container.HostConfig{}}
}

// reasonOf is the error as ECS shows it.
func reasonOf(err error) string {
	var reason *task.Error
	if !errors.As(err, &reason) {
		return "(no task error) " + err.Error()
	}
	return reason.Error()
}

func TestNewMakesOneCall(t *testing.T) {
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	v := c.Version()
	if v.Server != "20.10.24" || v.API != "1.41" || v.OS != "linux" {
		t.Errorf("version %+v", v)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"GET /version", "HEAD /_ping"}, f.seen()); diff != "" {
		t.Error(diff)
	}
}

func TestVersions(t *testing.T) {
	tests := []struct {
		name, answer, wantAPI, wantErr string
	}{
		{"newer engine", `{"ApiVersion":"1.99","MinAPIVersion":"1.44"}`, "1.51", ""},
		{"older engine", `{"ApiVersion":"1.24"}`, "1.24", ""},
		{"too old", `{"ApiVersion":"1.23"}`, "", "CannotGetDockerclientError: (v1.51) - the engine speaks API versions 1.24 to 1.23, the agent 1.24 to 1.51"},
		{"too new", `{"ApiVersion":"2.5","MinAPIVersion":"2.0"}`, "", "CannotGetDockerclientError: (v1.51) - the engine speaks API versions 2.0 to 2.5, the agent 1.24 to 1.51"},
		{"garbage", `<html>`, "", `CannotGetDockerClientVersionError: read version answer "<html>": invalid character '<' looking for beginning of value`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.version = tt.answer
			c, err := New(t.Context(), Options{Host: f.host})
			if tt.wantErr != "" {
				if err == nil || reasonOf(err) != tt.wantErr {
					t.Fatalf("got %v, want %s", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if v := c.Version(); v.API != tt.wantAPI {
				t.Errorf("API %s, want %s", v.API, tt.wantAPI)
			}
		})
	}
}

func TestRemoteAPIs(t *testing.T) {
	span := func(v Version) string {
		all := v.RemoteAPIs()
		if len(all) == 0 {
			return ""
		}
		return all[0] + " " + all[len(all)-1]
	}
	for _, tt := range []struct {
		v    Version
		want string
	}{
		{Version{MinAPI: "1.12", MaxAPI: "1.41", OS: "linux"}, "1.17 1.41"},
		{Version{MinAPI: "1.22", MaxAPI: "1.41", OS: "linux"}, "1.22 1.41"},
		{Version{MinAPI: "1.24", MaxAPI: "1.43", OS: "linux"}, "1.17 1.43"},
		{Version{MinAPI: "1.44", MaxAPI: "1.52", OS: "linux"}, "1.17 1.44"},
		{Version{MinAPI: "1.24", MaxAPI: "1.41", OS: "windows"}, "1.17 1.41"},
	} {
		if got := span(tt.v); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.v, got, tt.want)
		}
	}
	if got := (Version{MinAPI: "1.44", MaxAPI: "1.52"}).RemoteAPIs(); len(got) != 8 {
		t.Errorf("1.17 to 1.23 and 1.44: %v", got)
	}
}

func TestEngineUnreachable(t *testing.T) {
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	f.kill()
	for what, err := range map[string]error{
		"ping":  c.Ping(t.Context()),
		"start": c.Start(t.Context(), "x"),
	} {
		if !errors.Is(err, runtime.ErrUnavailable) {
			t.Errorf("%s: %v is not ErrUnavailable", what, err)
		}
	}
	if _, err := New(t.Context(), Options{Host: f.host}); !errors.Is(err, runtime.ErrUnavailable) {
		t.Errorf("connect: %v is not ErrUnavailable", err)
	}
	if _, err := New(t.Context(), Options{Host: "nonsense"}); err == nil || errors.Is(err, runtime.ErrUnavailable) {
		t.Errorf("nonsense: %v", err)
	}
}

// Every operation has its own error name, keeps Docker's text with its prefix, and
// ends in DockerTimeoutError with its own label.
func TestErrorNames(t *testing.T) {
	const short = 20 * time.Millisecond
	limits := Timeouts{
		Create: short, Start: short, StopGrace: short, Kill: short, Inspect: short, Remove: short, List: short, Ping: short, ImageInspect: short,
		Manifest: short, PullBegin: short, Tag: short, RemoveImage: short, Volume: short, Plugins: short, Info: short, Stats: short,
	}
	ctx := context.Background()
	tests := []struct {
		pattern, name, label string
		call                 func(*Client) error
	}{
		{"POST /containers/create", "CannotCreateContainerError", "created", func(c *Client) error { _, err := c.Create(ctx, createRequest("n", "t")); return err }},
		{"POST /containers/x/start", "CannotStartContainerError", "started", func(c *Client) error { return c.Start(ctx, "x") }},
		{"POST /containers/x/stop", "CannotStopContainerError", "stopped", func(c *Client) error { return c.Stop(ctx, "x", 0) }},
		{"POST /containers/x/kill", "CannotStopContainerError", "stopped", func(c *Client) error { return c.Kill(ctx, "x") }},
		{"GET /containers/x/json", "CannotInspectContainerError", "inspecting", func(c *Client) error { _, err := c.Inspect(ctx, "x"); return err }},
		{"DELETE /containers/x", "CannotRemoveContainerError", "removing", func(c *Client) error { return c.Remove(ctx, "x") }},
		{"GET /containers/json", "CannotListContainersError", "listing", func(c *Client) error { _, err := c.List(ctx); return err }},
		{"GET /images/json", "CannotListImagesError", "listing", func(c *Client) error { _, err := c.ListImages(ctx); return err }},
		{"GET /images/i/json", "CannotPullImageManifestError", "inspecting", func(c *Client) error { _, err := c.InspectImage(ctx, "i"); return err }},
		{"GET /distribution/i/json", "CannotPullImageManifestError", "MANIFEST_PULLED", func(c *Client) error { _, err := c.DistributionDigest(ctx, "i", nil); return err }},
		{"POST /images/create", "CannotPullContainerError", "pullBegin", func(c *Client) error { return c.Pull(ctx, "i", nil, nil) }},
		{"POST /images/i/tag", "CannotPullContainerError", "pulled", func(c *Client) error { return c.Tag(ctx, "i", "j:1") }},
		{"DELETE /images/i", "CannotRemoveImageError", "removing image", func(c *Client) error { return c.RemoveImage(ctx, "i") }},
		{"POST /volumes/create", "CannotCreateVolumeError", "creating volume", func(c *Client) error {
			_, err := c.CreateVolume(ctx, runtime.VolumeRequest{Name: "v"})
			return err
		}},
		{"GET /volumes/v", "CannotInspectVolumeError", "inspecting volume", func(c *Client) error { _, err := c.InspectVolume(ctx, "v"); return err }},
		{"DELETE /volumes/v", "CannotRemoveVolumeError", "removing volume", func(c *Client) error { return c.RemoveVolume(ctx, "v") }},
		{"GET /info", "CannotGetDockerClientVersionError", "getting info", func(c *Client) error { _, err := c.Info(ctx); return err }},
		{"GET /containers/x/stats", "CannotGetStatsError", "reading stats", func(c *Client) error { _, err := c.Stats(ctx, "x"); return err }},
		{"GET /plugins", "CannotListPluginsError", "listing plugins", func(c *Client) error { _, err := c.VolumePlugins(ctx); return err }},
	}
	f := newFake(t)
	slow := f.connect(t, limits)
	patient := f.connect(t, Timeouts{})
	for _, tt := range tests {
		t.Run(tt.pattern, func(t *testing.T) {
			f.handle(tt.pattern, func(w http.ResponseWriter, _ *http.Request) { fail(w, http.StatusInternalServerError, "it broke") })
			err := tt.call(patient)
			if want := tt.name + ": Error response from daemon: it broke"; err == nil || reasonOf(err) != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			f.handle(tt.pattern, stall)
			err = tt.call(slow)
			if want := "DockerTimeoutError: Could not transition to " + tt.label + "; timed out after waiting 20ms"; err == nil || reasonOf(err) != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if !errors.Is(err, runtime.ErrTimeout) {
				t.Errorf("%v is not ErrTimeout", err)
			}
		})
	}
}

func TestCancelledCallIsNoTimeout(t *testing.T) {
	f := newFake(t)
	f.handle("POST /containers/x/start", stall)
	c := f.connect(t, Timeouts{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	err := c.Start(ctx, "x")
	if !errors.Is(err, context.Canceled) || errors.Is(err, runtime.ErrTimeout) || !strings.HasPrefix(reasonOf(err), "CannotStartContainerError: ") {
		t.Errorf("got %v", err)
	}
}

func TestKinds(t *testing.T) {
	tests := []struct {
		registry bool
		status   int
		text     string
		want     error
	}{
		{false, 404, "No such container: x", runtime.ErrNotFound},
		{false, 409, "Conflict. The container name is in use", runtime.ErrConflict},
		{false, 400, "invalid mode", runtime.ErrInvalid},
		{false, 500, "OCI runtime create failed: permission denied: unknown", nil},
		{true, 404, "manifest for x:y not found: manifest unknown: manifest unknown", runtime.ErrNotFound},
		{true, 500, "manifest unknown", runtime.ErrNotFound},
		{true, 403, "name unknown: Unknown name", runtime.ErrNotFound},
		{true, 404, "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied", runtime.ErrDenied},
		{true, 500, `Head "http://r/v2/x/manifests/1": no basic auth credentials`, runtime.ErrDenied},
		{true, 500, "unauthorized", runtime.ErrDenied},
		{true, 500, "denied", runtime.ErrDenied},
		{true, 500, "toomanyrequests: Rate exceeded", nil},
		{true, 403, "denied: toomanyrequests: slow down", nil},
		{true, 500, "received unexpected HTTP status: 500 Internal Server Error", nil},
		{true, 404, "no matching manifest for linux/amd64 in the manifest list entries", runtime.ErrInvalid},
		{true, 500, `cannot download image with operating system "linux" when requesting "windows"`, runtime.ErrInvalid},
		{true, 500, `image operating system "linux" cannot be used on this platform: operating system is not supported`, runtime.ErrInvalid},
		{true, 500, "a Windows version 10.0.26100-based image is incompatible with a 10.0.20348 host", runtime.ErrInvalid},
	}
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	for _, tt := range tests {
		answer := func(w http.ResponseWriter, _ *http.Request) { fail(w, tt.status, tt.text) }
		f.handle("POST /containers/x/start", answer)
		f.handle("POST /images/create", answer)
		err := c.Start(t.Context(), "x")
		if tt.registry {
			err = c.Pull(t.Context(), "x", nil, nil)
		}
		var failure *runtime.Failure
		if !errors.As(err, &failure) || !errors.Is(failure.Kind, tt.want) {
			t.Errorf("%d %s: kind %v, want %v", tt.status, tt.text, failure.Kind, tt.want)
		}
	}
}

func TestCreateIsIdempotent(t *testing.T) {
	tests := []struct {
		name     string
		existing map[string]string
		wantID   string
	}{
		{"ours", map[string]string{runtime.LabelTaskARN: "t", runtime.LabelContainerName: "a", "x": "y"}, "existing"},
		{"another task's", map[string]string{runtime.LabelTaskARN: "u", runtime.LabelContainerName: "a"}, ""},
		{"a stranger", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.handle("POST /containers/create", func(w http.ResponseWriter, _ *http.Request) { fail(w, 409, "Conflict. Name n in use") })
			f.handle("GET /containers/n/json", answer(map[string]any{"Id": "existing", "Config": map[string]any{"Labels": tt.existing}}))
			id, err := f.connect(t, Timeouts{}).Create(t.Context(), createRequest("n", "t"))
			if id != tt.wantID {
				t.Errorf("id %q, want %q", id, tt.wantID)
			}
			if tt.wantID == "" && (err == nil || reasonOf(err) != "CannotCreateContainerError: Error response from daemon: Conflict. Name n in use" || !errors.Is(err, runtime.ErrConflict)) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestCreateWaitsForAnEarlierOne: Docker holds the name of a container that it is still
// creating, for a caller that is gone, and shows no such container.
func TestCreateWaitsForAnEarlierOne(t *testing.T) {
	f := newFake(t)
	f.handle("POST /containers/create", func(w http.ResponseWriter, _ *http.Request) { fail(w, 409, "Conflict. Name n in use") })
	looks := 0
	f.handle("GET /containers/n/json", func(w http.ResponseWriter, r *http.Request) {
		if looks++; looks < 3 {
			fail(w, 404, "No such container: n")
			return
		}
		answer(map[string]any{"Id": "existing", "Config": map[string]any{"Labels": map[string]string{runtime.LabelTaskARN: "t", runtime.LabelContainerName: "a"}}})(w, r)
	})
	c := f.connect(t, Timeouts{})
	if id, err := c.Create(t.Context(), createRequest("n", "t")); err != nil || id != "existing" || looks != 3 {
		t.Errorf("id %q after %d looks, %v", id, looks, err)
	}
	looks = -1000
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Create(ctx, createRequest("n", "t")); err == nil {
		t.Error("a name that nobody has was taken")
	}
}

func TestCreateBody(t *testing.T) {
	f := newFake(t)
	var body map[string]any
	f.handle("POST /containers/create", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewDecoder(r.Body).Decode(&body)
		_, _ = w.Write([]byte(`{"Id":"c1","Warnings":["slow"]}`))
	})
	c := f.connect(t, Timeouts{})
	req := createRequest("ecs-a", "t")
	req.HostConfig.CapAdd = []string{"sys_ptrace"}
	id, err := c.Create(t.Context(), req)
	if err != nil || id != "c1" {
		t.Fatal(id, err)
	}
	if calls := f.seen(); calls[1] != "POST /v1.41/containers/create?name=ecs-a" || len(calls) != 2 {
		t.Errorf("calls %q", calls)
	}
	if body["Image"] != "i" || body["NetworkingConfig"] == nil {
		t.Errorf("body %v", body)
	}
	if req.HostConfig.CapAdd[0] != "sys_ptrace" {
		t.Error("the request was changed")
	}
	if _, err := c.Create(t.Context(), runtime.CreateRequest{Name: "x"}); !errors.Is(err, runtime.ErrInvalid) {
		t.Errorf("empty request: %v", err)
	}
}

func TestStop(t *testing.T) {
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	f.handle("POST /containers/x/stop", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	if err := c.Stop(t.Context(), "x", 1500*time.Millisecond); err != nil {
		t.Error(err)
	}
	if calls := f.seen(); calls[len(calls)-1] != "POST /v1.41/containers/x/stop?t=2" {
		t.Errorf("calls %q", calls)
	}
	f.handle("POST /containers/x/stop", func(w http.ResponseWriter, _ *http.Request) { fail(w, 404, "No such container: x") })
	err := c.Stop(t.Context(), "x", 0)
	if !errors.Is(err, runtime.ErrNotFound) || reasonOf(err) != "NoSuchContainerError: Container not found: x" {
		t.Errorf("got %v", err)
	}
}

func TestKill(t *testing.T) {
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	f.handle("POST /containers/x/kill", func(w http.ResponseWriter, _ *http.Request) { fail(w, 409, "Container x is not running") })
	if err := c.Kill(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	if calls := f.seen(); calls[len(calls)-1] != "POST /v1.41/containers/x/kill?signal=KILL" {
		t.Errorf("calls %q", calls)
	}
	f.handle("POST /containers/x/kill", func(w http.ResponseWriter, _ *http.Request) { fail(w, 404, "No such container: x") })
	if err := c.Kill(t.Context(), "x"); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestRemovingTheGoneIsNoFailure(t *testing.T) {
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	gone := func(w http.ResponseWriter, _ *http.Request) { fail(w, 404, "No such thing") }
	f.handle("DELETE /containers/x", gone)
	f.handle("DELETE /volumes/v", gone)
	if err := errors.Join(c.Remove(t.Context(), "x"), c.RemoveVolume(t.Context(), "v")); err != nil {
		t.Error(err)
	}
	if calls := f.seen(); calls[1] != "DELETE /v1.41/containers/x?force=1&v=1" {
		t.Errorf("calls %q", calls)
	}
	f.handle("DELETE /volumes/v", func(w http.ResponseWriter, _ *http.Request) { fail(w, 409, "in use") })
	if err := c.RemoveVolume(t.Context(), "v"); !errors.Is(err, runtime.ErrConflict) {
		t.Errorf("volume in use: %v", err)
	}
}

// References and names of volumes cannot reach other parts of Docker's API.
func TestHostileNames(t *testing.T) {
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	before := len(f.seen())
	for _, name := range []string{"../containers/x", "..", "a/../../b", "x?y", "A b", "", "/etc", `a\b`} {
		_, inspect := c.InspectImage(t.Context(), name)
		_, digest := c.DistributionDigest(t.Context(), name, nil)
		for what, err := range map[string]error{
			"inspect": inspect, "digest": digest, "pull": c.Pull(t.Context(), name, nil, nil),
			"remove": c.RemoveImage(t.Context(), name), "tag": c.Tag(t.Context(), name, "x"),
		} {
			if !errors.Is(err, runtime.ErrInvalid) {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
	for _, name := range []string{"", "..", "a/b", `a\b`} {
		_, err := c.InspectVolume(t.Context(), name)
		if !errors.Is(err, runtime.ErrInvalid) || !errors.Is(c.RemoveVolume(t.Context(), name), runtime.ErrInvalid) {
			t.Errorf("volume %q: %v", name, err)
		}
	}
	if calls := f.seen(); len(calls) != before {
		t.Errorf("calls were made: %q", calls[before:])
	}
}

// Fifty calls at once, again and again, use the same fifty connections.
func TestConnectionsAreKept(t *testing.T) {
	f := newFake(t)
	var arrived sync.WaitGroup
	var gate chan struct{}
	f.handle("POST /containers/x/start", func(http.ResponseWriter, *http.Request) { arrived.Done(); <-gate })
	c := f.connect(t, Timeouts{})
	for range 4 {
		arrived.Add(50)
		gate = make(chan struct{})
		var calls sync.WaitGroup
		for range 50 {
			calls.Go(func() {
				if err := c.Start(t.Context(), "x"); err != nil {
					t.Error(err)
				}
			})
		}
		arrived.Wait()
		close(gate)
		calls.Wait()
	}
	if n := f.conns.Load(); n > 60 {
		t.Errorf("%d connections for bursts of 50 calls", n)
	}
}
