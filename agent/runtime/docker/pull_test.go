package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/runtime"
)

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return ctx, cancel
}

func TestPull(t *testing.T) {
	const soon = 20 * time.Millisecond
	tests := []struct {
		name   string
		serve  http.HandlerFunc
		limits Timeouts
		want   string
	}{
		{name: "complete", serve: rawAnswer(`{"status":"Pulling from x","id":"1"}` + "\n" + `{"status":"Downloading","progressDetail":{"current":1,"total":2}}` + "\n" + `{"status":"Status: done"}`)},
		{name: "nothing said", serve: rawAnswer("")},
		{name: "refused", serve: func(w http.ResponseWriter, _ *http.Request) {
			fail(w, 404, "manifest for x:1 not found: manifest unknown")
		},
			want: "CannotPullContainerError: Error response from daemon: manifest for x:1 not found: manifest unknown"},
		{name: "fails half way", serve: rawAnswer(`{"status":"a"}` + "\n" + `{"errorDetail":{"message":"no space left"},"error":"no space left"}` + "\n" + `{"status":"b"}`),
			want: "CannotPullContainerError: no space left"},
		{name: "old error", serve: rawAnswer(`{"error":"unauthorized: bad"}`), want: "CannotPullContainerError: unauthorized: bad"},
		{name: "cut off", serve: rawAnswer(`{"status":"a`), want: "CannotPullContainerError: read pull progress: unexpected EOF"},
		{name: "never begins", serve: stall, limits: Timeouts{PullBegin: soon},
			want: "DockerTimeoutError: Could not transition to pullBegin; timed out after waiting 20ms"},
		{name: "stalls", serve: func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"status":"a"}` + "\n"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, limits: Timeouts{PullBegin: time.Minute, PullInactive: 20 * time.Millisecond}, want: "CannotPullContainerError: image pull stalled: no progress for 20ms"},
		{name: "slow but steady", serve: func(w http.ResponseWriter, _ *http.Request) {
			for range 20 {
				time.Sleep(75 * time.Millisecond)
				_, _ = w.Write([]byte(`{"status":"a"}` + "\n"))
				w.(http.Flusher).Flush()
			}
		}, limits: Timeouts{PullBegin: time.Second, PullInactive: time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.handle("POST /images/create", tt.serve)
			err := f.connect(t, tt.limits).Pull(t.Context(), "r.example/x:1", nil, nil)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || reasonOf(err) != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			const call = "POST /v1.41/images/create?fromImage=r.example%2Fx&tag=1"
			calls := f.seen()
			// On a slow machine the time of one that never begins is over before it is asked for.
			if asked := len(calls) > 1; asked && calls[1] != call || !asked && tt.limits.PullBegin != soon {
				t.Errorf("calls %q", calls)
			}
		})
	}
}

// A pull tells how far it is: layers seen and complete, bytes of downloads begun.
func TestPullTellsItsProgress(t *testing.T) {
	lines := []string{
		`{"status":"Pulling from x","id":"1"}`,
		`{"status":"Pulling fs layer","id":"a"}`,
		`{"status":"Already exists","id":"b"}`,
		`{"status":"Downloading","id":"a","progressDetail":{"current":10,"total":100}}`,
		`{"status":"Downloading","id":"c","progressDetail":{"current":5}}`,
		`{"status":"Downloading","id":"c","progressDetail":{"current":-5,"total":-9}}`,
		`{"status":"Download complete","id":"a"}`,
		`{"status":"Extracting","id":"a","progressDetail":{"current":3,"total":100}}`,
		`{"status":"Pull complete","id":"a"}`,
		`{"status":"Pull complete","id":"a"}`,
		`{"status":"Digest: sha256:0"}`,
	}
	want := []runtime.PullProgress{
		{}, {Layers: 1}, {Layers: 2, Complete: 1}, {Layers: 2, Complete: 1, Bytes: 10, Total: 100},
		{Layers: 3, Complete: 1, Bytes: 15, Total: 105}, {Layers: 3, Complete: 1, Bytes: 10, Total: 100},
		{Layers: 3, Complete: 1, Bytes: 100, Total: 100}, {Layers: 3, Complete: 1, Bytes: 100, Total: 100},
		{Layers: 3, Complete: 2, Bytes: 100, Total: 100}, {Layers: 3, Complete: 2, Bytes: 100, Total: 100},
		{Layers: 3, Complete: 2, Bytes: 100, Total: 100},
	}
	f := newFake(t)
	f.handle("POST /images/create", rawAnswer(strings.Join(lines, "\n")))
	var got []runtime.PullProgress
	err := f.connect(t, Timeouts{}).Pull(t.Context(), "x:1", nil, func(p runtime.PullProgress) { got = append(got, p) })
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestPullCancelled(t *testing.T) {
	f := newFake(t)
	f.handle("POST /images/create", stall)
	c := f.connect(t, Timeouts{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := c.Pull(ctx, "x", nil, nil); !errors.Is(err, context.Canceled) || errors.Is(err, runtime.ErrTimeout) {
		t.Errorf("got %v", err)
	}
}

func TestRegistryAuth(t *testing.T) {
	f := newFake(t)
	var got []string
	record := func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("X-Registry-Auth"))
		_, _ = w.Write([]byte(`{"Descriptor":{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:abc"}}`))
	}
	f.handle("POST /images/create", record)
	f.handle("GET /distribution/x/json", record)
	c := f.connect(t, Timeouts{})
	auth := &runtime.RegistryAuth{Username: "AWS", Password: "p?>", ServerAddress: "https://1.dkr"}
	if err := c.Pull(t.Context(), "x", auth, nil); err != nil {
		t.Fatal(err)
	}
	if d, err := c.DistributionDigest(t.Context(), "x", auth); err != nil || d != "sha256:abc" {
		t.Fatal(d, err)
	}
	if _, err := c.DistributionDigest(t.Context(), "x", nil); err != nil {
		t.Fatal(err)
	}
	for _, header := range got[:2] {
		raw, err := base64.URLEncoding.DecodeString(header)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]string
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		if m["username"] != "AWS" || m["password"] != "p?>" || m["serveraddress"] != "https://1.dkr" {
			t.Errorf("auth %v", m)
		}
	}
	if got[2] != "" {
		t.Errorf("auth without a login: %q", got[2])
	}
}

func TestDistributionDigest(t *testing.T) {
	for media, want := range map[string]string{
		"application/vnd.docker.distribution.manifest.v2+json":      "sha256:d",
		"application/vnd.docker.distribution.manifest.v1+json":      "",
		"application/vnd.docker.distribution.manifest.v1+prettyjws": "",
	} {
		f := newFake(t)
		f.handle("GET /distribution/r.example/a/b:1/json", rawAnswer(`{"Descriptor":{"mediaType":"`+media+`","digest":"sha256:d"}}`))
		if got, err := f.connect(t, Timeouts{}).DistributionDigest(t.Context(), "r.example/a/b:1", nil); err != nil || got != want {
			t.Errorf("%s: %q, %v", media, got, err)
		}
	}
	f := newFake(t)
	f.version = `{"ApiVersion":"1.29"}`
	if got, err := f.connect(t, Timeouts{}).DistributionDigest(t.Context(), "x", nil); err != nil || got != "" || len(f.seen()) != 1 {
		t.Errorf("old engine: %q, %v, calls %q", got, err, f.seen())
	}
}

func TestImagesAndVolumes(t *testing.T) {
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	f.handle("GET /images/json", rawAnswer(`[{"Id":"sha256:1","RepoTags":["a:1","<none>:<none>"],"RepoDigests":["<none>@<none>"],"Size":5,"Created":10},{"Id":"sha256:2","RepoTags":null}]`))
	images, err := c.ListImages(t.Context())
	if err != nil || len(images) != 2 || strings.Join(images[0].Tags, " ") != "a:1" || images[0].Digests != nil || images[0].Size != 5 || !images[0].Created.Equal(time.Unix(10, 0)) {
		t.Errorf("images %+v, %v", images, err)
	}
	f.handle("GET /images/a:1/json", rawAnswer(`{"Id":"sha256:1","RepoTags":["a:1"],"RepoDigests":["a@sha256:d"],"Created":"2026-01-01T00:00:00Z","Config":{"Env":["K=V"]}}`))
	img, err := c.InspectImage(t.Context(), "a:1")
	if err != nil || img.ID != "sha256:1" || img.Env[0] != "K=V" || img.Digests[0] != "a@sha256:d" || img.Created.IsZero() {
		t.Errorf("image %+v, %v", img, err)
	}
	f.handle("GET /containers/json", rawAnswer(`[{"ImageID":"sha256:2"},{"ImageID":"sha256:1"},{"ImageID":"sha256:2"}]`))
	if used, err := c.UsedImages(t.Context()); err != nil || strings.Join(used, " ") != "sha256:1 sha256:2" {
		t.Errorf("used %q, %v", used, err)
	}

	var body map[string]any
	f.handle("POST /volumes/create", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewDecoder(r.Body).Decode(&body)
		_, _ = w.Write([]byte(`{"Name":"v","Driver":"local","Mountpoint":"/m","Labels":{"a":"b"},"Options":{"type":"nfs"}}`))
	})
	v, err := c.CreateVolume(t.Context(), runtime.VolumeRequest{Name: "v", Driver: "local", DriverOpts: map[string]string{"type": "nfs"}})
	if err != nil || v.Mountpoint != "/m" || v.DriverOpts["type"] != "nfs" || v.Labels["a"] != "b" {
		t.Errorf("volume %+v, %v", v, err)
	}
	if body["Name"] != "v" || body["Driver"] != "local" || body["Labels"] != nil {
		t.Errorf("body %v", body)
	}
	f.handle("GET /plugins", rawAnswer(`[{"Name":"amazon-ecs-volume-plugin:latest","Enabled":true},null]`))
	if plugins, err := c.VolumePlugins(t.Context()); err != nil || strings.Join(plugins, " ") != "amazon-ecs-volume-plugin:latest" {
		t.Errorf("plugins %q, %v", plugins, err)
	}
	f.handle("GET /info", rawAnswer(`{"CgroupDriver":"systemd","CgroupVersion":"2"}`))
	if info, err := c.Info(t.Context()); err != nil || info != (Info{CgroupDriver: "systemd"}) {
		t.Errorf("info %+v, %v", info, err)
	}
}

func TestIdleContainers(t *testing.T) {
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	f.handle("GET /containers/json", rawAnswer(`[{"Id":"1","Names":["/x"],"ImageID":"sha256:1","State":"exited","Created":10,"Labels":{"k":"v"}}]`))
	idle, err := c.IdleContainers(t.Context())
	if err != nil || len(idle) != 1 || idle[0].ID != "1" || idle[0].Name != "x" || idle[0].Labels["k"] != "v" || !idle[0].CreatedAt.Equal(time.Unix(10, 0)) {
		t.Errorf("%+v, %v", idle, err)
	}
	f.handle("DELETE /containers/1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	f.handle("DELETE /containers/2", func(w http.ResponseWriter, _ *http.Request) { fail(w, 409, "container 2 is running") })
	if err := c.RemoveIdle(t.Context(), "1"); err != nil {
		t.Error(err)
	}
	if err := c.RemoveIdle(t.Context(), "2"); !errors.Is(err, runtime.ErrConflict) || reasonOf(err) != "CannotRemoveContainerError: Error response from daemon: container 2 is running" {
		t.Errorf("one that runs: %v", err)
	}
	calls := strings.Join(f.seen(), "\n")
	for _, want := range []string{"DELETE /v1.41/containers/1?v=1", "/containers/json?all=1&filters="} {
		if !strings.Contains(calls, want) {
			t.Errorf("no %s in %s", want, calls)
		}
	}
	if strings.Contains(calls, "force") {
		t.Error("a container may be removed although it runs")
	}
}

func FuzzReadProgress(f *testing.F) {
	for _, seed := range []string{"", `{"status":"x"}`, `{"error":"x"}`, `{"errorDetail":{"message":"x"}}`, `{"errorDetail":null}`, `[]`, `{"error":1}`, "\n\n{}"} {
		f.Add(seed)
	}
	f.Add(`{"id":"a","status":"Downloading","progressDetail":{"current":9223372036854775807,"total":1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		_ = readProgress(strings.NewReader(text), func(p runtime.PullProgress) {
			if p.Layers < p.Complete || p.Layers > maxLayers {
				t.Errorf("%+v", p)
			}
		})
	})
}

// contextOf is live during clean-up too, unlike the test's own.
func contextOf(t *testing.T) context.Context {
	t.Helper()
	return context.WithoutCancel(t.Context())
}
