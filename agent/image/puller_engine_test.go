package image

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/agent/runtime"
	"ecsagent/agent/runtime/docker"
	"ecsagent/agent/task"
	"ecsagent/tests/image"
	"ecsagent/tests/registry"
)

// world is a real engine, of ECS_TEST_DOCKER_HOST, and a registry with an image.
type world struct {
	docker      *docker.Client
	registry    *registry.Server
	ref, digest string
	limits      docker.Timeouts
}

// newWorld waits for the engine's answers as long as a busy machine needs.
func newWorld(t *testing.T) *world {
	t.Helper()
	return worldWithin(t, docker.Timeouts{Manifest: time.Minute, PullBegin: time.Minute, PullInactive: time.Minute})
}

func worldWithin(t *testing.T, limits docker.Timeouts) *world {
	t.Helper()
	host := os.Getenv("ECS_TEST_DOCKER_HOST")
	if host == "" {
		t.Skip("ECS_TEST_DOCKER_HOST names no engine")
	}
	c, err := docker.New(t.Context(), docker.Options{Host: host, Timeouts: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r, err := registry.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	w := &world{docker: c, registry: r, limits: limits}
	w.ref, w.digest = w.push(t, "app:1", "first")
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, ref := range []string{w.ref, r.Host() + "/app@" + w.digest} {
			_ = c.RemoveImage(ctx, ref)
		}
	})
	return w
}

func (w *world) push(t *testing.T, name, content string) (ref, digest string) {
	t.Helper()
	img, err := image.Build([]image.File{{Path: "/a", Data: []byte(content + t.Name())}}, v1.Config{Env: []string{"AWS_REGION=x"}, Cmd: []string{"/a"}})
	if err != nil {
		t.Fatal(err)
	}
	ref, digest, err = w.registry.Push(t.Context(), name, img)
	if err != nil {
		t.Fatal(err)
	}
	return ref, digest
}

func (w *world) puller(t *testing.T, b task.PullBehavior) *Puller {
	t.Helper()
	limits := quick
	limits.Manifest = 2 * w.limits.Manifest
	limits.ManifestRetry.Attempts, limits.PullRetry.Attempts = 3, 2
	p := New(Options{Engine: w.docker, Behavior: b, Limits: limits})
	t.Cleanup(p.Close)
	return p
}

func TestEngineGetsImages(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	p := w.puller(t, task.PullDefault)
	digest, err := p.Digest(ctx, Request{Ref: w.ref})
	if err != nil || digest != w.digest {
		t.Fatalf("digest %q, %v, want %q", digest, err, w.digest)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			r, err := p.Ensure(ctx, Request{Ref: w.ref, Digest: digest})
			if err != nil || !r.Pulled || r.Digest != w.digest || strings.Join(r.Env, " ") != "AWS_REGION=x" || !strings.HasPrefix(r.ImageID, "sha256:") {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	wg.Wait()
	blobs := 0
	for _, r := range w.registry.Requests("app") {
		if r.Method == "GET" && strings.Contains(r.Path, "/blobs/") {
			blobs++
		}
	}
	if blobs > 3 { // configuration for the digest, configuration and layer for the pull
		t.Errorf("%d blobs fetched for 20 tasks", blobs)
	}
	// The tag exists locally, and moves with the registry's.
	if img, err := w.docker.InspectImage(ctx, w.ref); err != nil || img.ID == "" {
		t.Errorf("tagged image: %+v, %v", img, err)
	}
	_, second := w.push(t, "app:1", "second")
	if digest, err = p.Digest(ctx, Request{Ref: w.ref}); err != nil || digest != second {
		t.Fatalf("digest %q, %v, want %q", digest, err, second)
	}
	moved, err := p.Ensure(ctx, Request{Ref: w.ref, Digest: digest})
	if img, ierr := w.docker.InspectImage(ctx, w.ref); err != nil || ierr != nil || img.ID != moved.ImageID || moved.Digest != second {
		t.Errorf("%+v, %v, tag means %q, %v", moved, err, img.ID, ierr)
	}
	_ = w.docker.RemoveImage(ctx, w.registry.Host()+"/app@"+second)
}

// Each answer of a registry ends in its specified reason, at once when it is final
// and after the retries when it is not.
func TestEngineRegistryFaults(t *testing.T) {
	// Registries that stall are among them.
	w := worldWithin(t, docker.Timeouts{Manifest: time.Second, PullBegin: 500 * time.Millisecond, PullInactive: 500 * time.Millisecond})
	ctx := t.Context()
	const daemon = "Error response from daemon: "
	tests := []struct {
		name         string
		ref          string
		fault        registry.Fault
		digest, pull string // prefixes of the reasons
		wantKind     error
		fallsThrough bool // the digest is found, only the pull fails
	}{
		{name: "unknown repository", ref: "/nope:1", wantKind: runtime.ErrNotFound,
			digest: "CannotPullImageManifestError: " + daemon + "name unknown", pull: "CannotPullContainerError: " + daemon},
		{name: "unknown tag", ref: "/app:nope", wantKind: runtime.ErrNotFound,
			digest: "CannotPullImageManifestError: " + daemon + "manifest unknown", pull: "CannotPullContainerError: " + daemon + "manifest for "},
		{name: "401", ref: "/app:1", fault: registry.Fault{Status: 401}, wantKind: runtime.ErrDenied,
			digest: "CannotPullImageManifestError: " + daemon, pull: "CannotPullContainerError: " + daemon},
		{name: "403", ref: "/app:1", fault: registry.Fault{Status: 403}, wantKind: runtime.ErrDenied,
			digest: "CannotPullImageManifestError: " + daemon, pull: "CannotPullContainerError: "},
		{name: "500", ref: "/app:1", fault: registry.Fault{Status: 500},
			digest: "CannotPullImageManifestError: " + daemon + "received unexpected HTTP status: 500", pull: "CannotPullContainerError: " + daemon + "received unexpected HTTP status: 500"},
		{name: "stall", ref: "/app:1", fault: registry.Fault{Stall: true}, wantKind: runtime.ErrTimeout,
			digest: "DockerTimeoutError: Could not transition to MANIFEST_PULLED; timed out after waiting 2s", pull: "DockerTimeoutError: Could not transition to pullBegin; timed out after waiting 500ms"},
		{name: "layer gone", ref: "/app:1", fault: registry.Fault{Status: 404, Blobs: true}, fallsThrough: true, pull: "CannotPullContainerError: "},
		{name: "layer stalls", ref: "/app:1", fault: registry.Fault{Stall: true, Blobs: true}, fallsThrough: true, pull: "CannotPullContainerError: image pull stalled: no progress for 500ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.registry.Set("app", tt.fault)
			defer w.registry.Set("app", registry.Fault{})
			p := w.puller(t, task.PullAlways)
			req := Request{Ref: w.registry.Host() + tt.ref}
			start := time.Now()
			if !tt.fallsThrough {
				_, err := p.Digest(ctx, req)
				if !strings.HasPrefix(reasonOf(err), tt.digest) || tt.wantKind != nil && !errors.Is(err, tt.wantKind) {
					t.Errorf("digest: %v", err)
				}
			}
			_, err := p.Ensure(ctx, req)
			if !strings.HasPrefix(reasonOf(err), tt.pull) {
				t.Errorf("pull: %v", err)
			}
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
	host := w.registry.Host()
	w.registry.Kill()
	p := w.puller(t, task.PullDefault)
	if _, err := p.Digest(ctx, Request{Ref: host + "/app:1"}); !strings.Contains(reasonOf(err), "connection refused") {
		t.Errorf("registry down: %v", err)
	}
	if err := w.registry.Restart(); err != nil {
		t.Fatal(err)
	}
}

func TestEnginePreferCached(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	p := w.puller(t, task.PullPreferCached)
	first, err := p.Ensure(ctx, Request{Ref: w.ref})
	if err != nil || !first.Pulled {
		t.Fatal(first, err)
	}
	asked := len(w.registry.Requests("app"))
	again, err := p.Ensure(ctx, Request{Ref: w.ref})
	if digest, derr := p.Digest(ctx, Request{Ref: w.ref}); err != nil || derr != nil || again.Pulled || digest != w.digest || len(w.registry.Requests("app")) != asked {
		t.Errorf("%+v, %v, digest %q, %v, %d requests more", again, err, digest, derr, len(w.registry.Requests("app"))-asked)
	}
	// Removed behind the agent's back: the watch tells, and the image is pulled again.
	changed, watching := make(chan struct{}, 100), make(chan error, 1)
	watch, cancel := context.WithCancel(ctx)
	go func() {
		watching <- w.docker.WatchImages(watch, func() { p.Changed(); changed <- struct{}{} })
	}()
	if err := w.docker.RemoveImage(ctx, w.ref); err != nil {
		t.Fatal(err)
	}
	<-changed
	// The watch repeats the second before its start: wait for the removal itself.
	deadline := time.Now().Add(10 * time.Second)
	for {
		r, err := p.Ensure(ctx, Request{Ref: w.ref})
		if err == nil && r.Pulled {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not pulled again: %+v, %v", r, err)
		}
		<-changed
	}
	cancel()
	if err := <-watching; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestEngineCleansUp(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	accounts := NewAccounts(nil)
	p := New(Options{Engine: w.docker, Accounts: accounts, Limits: quick, Now: func() time.Time { return time.Now().Add(-3 * time.Hour) }})
	defer p.Close()
	if _, err := p.Ensure(ctx, Request{Ref: w.ref, Digest: w.digest}); err != nil {
		t.Fatal(err)
	}
	c := NewCleaner(CleanerOptions{Engine: w.docker, Accounts: accounts, Puller: p})
	if err := c.Cycle(ctx); err != nil {
		t.Fatal(err)
	}
	if img, err := w.docker.InspectImage(ctx, w.ref); !errors.Is(err, runtime.ErrNotFound) || len(accounts.Records()) != 0 {
		t.Errorf("still there: %+v, %v, %+v", img, err, accounts.Records())
	}
}
