package docker

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
	"ecsagent/tests/image"
	"ecsagent/tests/registry"
)

// engine connects to the real engine of ECS_TEST_DOCKER_HOST.
func engine(t *testing.T) *Client {
	t.Helper()
	host := os.Getenv("ECS_TEST_DOCKER_HOST")
	if host == "" {
		t.Skip("ECS_TEST_DOCKER_HOST names no engine")
	}
	c, err := New(t.Context(), Options{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// tools pulls an image with a shell into the engine.
func tools(t *testing.T, c *Client) string {
	t.Helper()
	r, err := registry.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	img, err := image.Busybox(v1.Config{Env: []string{"PATH=/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	ref, _, err := r.Push(t.Context(), "tools:1", img)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Pull(t.Context(), ref, nil, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.RemoveImage(contextOf(t), ref) })
	return ref
}

func containerRequest(t *testing.T, ref string, command ...string) runtime.CreateRequest {
	t.Helper()
	n := fmt.Sprintf("ecs-test-%d", time.Now().UnixNano())
	r := newRequest(n, map[string]string{runtime.LabelTaskARN: "arn:" + n, runtime.LabelContainerName: "a"})
	r.Config.Image, r.Config.Cmd = ref, command
	return r
}

// A container's whole life, by calls, lists and events.
func TestEngineLifecycle(t *testing.T) {
	c := engine(t)
	ref := tools(t, c)
	w := watchEvents(t, c)
	ctx := contextOf(t)

	req := containerRequest(t, ref, "sh", "-c", "trap 'exit 7' TERM; sleep 3600 & while :; do wait; done")
	req.Config.Healthcheck = &container.HealthConfig{Test: []string{"CMD-SHELL", "echo fine"}, Interval: 200 * time.Millisecond}
	id, err := c.Create(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Remove(contextOf(t), id) })
	if again, err := c.Create(ctx, req); err != nil || again != id {
		t.Fatalf("second create: %q, %v, want %q", again, err, id)
	}
	stranger := req
	stranger.Config = &container.Config{Image: ref, Cmd: []string{"true"}, Labels: map[string]string{runtime.LabelTaskARN: "other", runtime.LabelContainerName: "a"}}
	if _, err := c.Create(ctx, stranger); !errors.Is(err, runtime.ErrConflict) {
		t.Errorf("name of another task: %v", err)
	}
	if seen, err := c.Inspect(ctx, req.Name); err != nil || seen.ID != id || seen.Status != task.ContainerCreated || seen.ExitCode != nil {
		t.Errorf("created: %+v, %v", seen, err)
	}
	for range 2 { // a second start changes nothing
		if err := c.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	list, err := c.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if mine := find(list, id); mine == nil || mine.Status != task.ContainerRunning || mine.Name != req.Name || mine.Labels[runtime.LabelTaskARN] != "arn:"+req.Name {
		t.Errorf("list %+v", mine)
	}
	expect(t, w, id, runtime.EventCreate)
	expect(t, w, id, runtime.EventStart)
	if e := expect(t, w, id, runtime.EventHealth); e.Health != task.HealthHealthy || e.Labels[runtime.LabelTaskARN] != "arn:"+req.Name || e.Name != req.Name {
		t.Errorf("health event %+v", e)
	}
	if seen, err := c.Inspect(ctx, id); err != nil || seen.Status != task.ContainerRunning || seen.Health != task.HealthHealthy || strings.TrimSpace(seen.HealthOutput) != "fine" || seen.StartedAt.IsZero() || seen.Pid == 0 {
		t.Errorf("running: %+v, %v", seen, err)
	}
	if err := c.Stop(ctx, id, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if e := expect(t, w, id, runtime.EventDie); e.ExitCode == nil || *e.ExitCode != 7 {
		t.Errorf("die event %+v", e)
	}
	if seen, err := c.Inspect(ctx, id); err != nil || seen.Status != task.ContainerStopped || seen.ExitCode == nil || *seen.ExitCode != 7 || seen.FinishedAt.IsZero() {
		t.Errorf("stopped: %+v, %v", seen, err)
	}
	for range 2 {
		if err := c.Remove(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, w, id, runtime.EventDestroy)
	if _, err := c.Inspect(ctx, id); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("removed: %v", err)
	}
	if err := c.Stop(ctx, id, 0); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("stop of the removed: %v", err)
	}
}

// Events that happen before the stream is open are still told.
func TestEngineRepeatsEvents(t *testing.T) {
	c := engine(t)
	ref := tools(t, c)
	ctx := contextOf(t)
	before := time.Now()
	id, err := c.Create(ctx, containerRequest(t, ref, "true"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Remove(ctx, id) }()
	if time.Since(before) > overlap/2 {
		t.Skip("this machine is too slow for the overlap")
	}
	expect(t, watchEvents(t, c), id, runtime.EventCreate)
}

func TestEngineFailures(t *testing.T) {
	c := engine(t)
	ref := tools(t, c)
	ctx := contextOf(t)

	absent := containerRequest(t, "127.0.0.1:1/absent:1")
	if _, err := c.Create(ctx, absent); !errors.Is(err, runtime.ErrNotFound) || reasonOf(err) != "CannotCreateContainerError: Error response from daemon: No such image: 127.0.0.1:1/absent:1" {
		t.Errorf("no such image: %v", err)
	}
	id, err := c.Create(ctx, containerRequest(t, ref, "/no/such/command"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Remove(ctx, id) }()
	err = c.Start(ctx, id)
	if err == nil || !strings.HasPrefix(reasonOf(err), "CannotStartContainerError: Error response from daemon: ") || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("no such command: %v", err)
	}
	if seen, err := c.Inspect(ctx, id); err != nil || seen.Status != task.ContainerStopped || seen.ExitCode != nil || seen.Error == "" {
		t.Errorf("after a failed start: %+v, %v", seen, err)
	}
	v, err := c.CreateVolume(ctx, runtime.VolumeRequest{Name: fmt.Sprintf("ecs-test-%d", time.Now().UnixNano()), Driver: "local"})
	if err != nil {
		t.Fatal(err)
	}
	if seen, err := c.InspectVolume(ctx, v.Name); err != nil || seen.Driver != "local" {
		t.Errorf("volume %+v, %v", seen, err)
	}
	for range 2 {
		if err := c.RemoveVolume(ctx, v.Name); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.InspectVolume(ctx, v.Name); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("removed volume: %v", err)
	}
}

func find(list []runtime.Container, id string) *runtime.Container {
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	return nil
}

// expect skips to the next event of the type for the container.
func expect(t *testing.T, w *collector, id string, kind runtime.EventType) runtime.Event {
	t.Helper()
	for {
		if e := w.next(t); e.ID == id && e.Type == kind {
			return e
		}
	}
}

// What does not run is found and removed; what runs is not.
func TestEngineIdleContainers(t *testing.T) {
	c := engine(t)
	ref := tools(t, c)
	ctx := contextOf(t)
	create := func(command ...string) string {
		id, err := c.Create(ctx, containerRequest(t, ref, command...))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Remove(contextOf(t), id) })
		return id
	}
	created, exited, running := create("true"), create("true"), create("sleep", "60")
	for _, id := range []string{exited, running} {
		if err := c.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	for { // until Docker knows of the end
		idle, err := c.IdleContainers(ctx)
		if err != nil || find(idle, running) != nil || find(idle, created) == nil {
			t.Fatalf("%+v, %v", idle, err)
		}
		if find(idle, exited) != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the container that has ended is not listed")
		}
	}
	if err := c.RemoveIdle(ctx, running); !errors.Is(err, runtime.ErrConflict) {
		t.Errorf("one that runs: %v", err)
	}
	for _, id := range []string{created, exited} {
		if err := c.RemoveIdle(ctx, id); err != nil {
			t.Error(err)
		}
		if _, err := c.Inspect(ctx, id); !errors.Is(err, runtime.ErrNotFound) {
			t.Errorf("still there: %v", err)
		}
	}
	if dir, err := c.DataRoot(ctx); err != nil || !strings.HasPrefix(dir, "/") {
		t.Errorf("%q, %v", dir, err)
	}
}
