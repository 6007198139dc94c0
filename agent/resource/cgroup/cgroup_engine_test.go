//go:build linux

package cgroup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"ecsagent/agent/task"
	linux "ecsagent/platform_linux"
	"ecsagent/tests/image"
)

// contextOf is for work and for cleaning up after it.
func contextOf(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// engine is the real engine of ECS_TEST_DOCKER_HOST with an image that has a shell,
// and a Manager for its cgroup driver.
type engine struct {
	*client.Client
	m     *Manager
	image string
}

func newEngine(t *testing.T, set Settings) engine {
	t.Helper()
	host := os.Getenv("ECS_TEST_DOCKER_HOST")
	if !strings.HasPrefix(host, "unix://") || os.Geteuid() != 0 {
		t.Skip("ECS_TEST_DOCKER_HOST names no engine on this machine, or this is not root")
	}
	c, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	info, err := c.Info(contextOf(t))
	if err != nil {
		t.Fatal(err)
	}
	e := engine{Client: c, m: New(Options{Path: mount, Driver: info.CgroupDriver, Settings: set, Slices: linux.NewSlices()})}
	if err := e.m.Init(t.Context()); err != nil {
		if writable() {
			t.Fatal(err)
		}
		t.Skipf("cgroups cannot be written: %v", err)
	}
	if got := fmt.Sprint(e.m.Layout().Version); got != info.CgroupVersion {
		t.Errorf("version %s was found, the engine says %s", got, info.CgroupVersion)
	}
	e.load(t)
	return e
}

func (e *engine) load(t *testing.T) {
	t.Helper()
	img, err := image.Busybox(v1.Config{Env: []string{"PATH=/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(fmt.Sprintf("ecs-cgroup-test:%d", time.Now().UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := tarball.Write(tag, img, &archive); err != nil {
		t.Fatal(err)
	}
	loaded, err := e.ImageLoad(contextOf(t), &archive)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, loaded.Body)
	if cerr := loaded.Body.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	e.image = tag.String()
	t.Cleanup(func() { _, _ = e.ImageRemove(contextOf(t), e.image, dockerimage.RemoveOptions{Force: true}) })
}

// start starts a shell command in a container of the task.
func (e engine) start(t *testing.T, parent, script string) string {
	t.Helper()
	made, err := e.ContainerCreate(contextOf(t),
		&container.Config{Image: e.image, Cmd: []string{"sh", "-c", script}},
		&container.HostConfig{NetworkMode: "none", Resources: container.Resources{CgroupParent: parent}}, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.ContainerRemove(contextOf(t), made.ID, container.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	if err := e.ContainerStart(contextOf(t), made.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	return made.ID
}

func (e engine) wait(t *testing.T, id string) container.InspectResponse {
	t.Helper()
	ctx := contextOf(t)
	ended, failed := e.ContainerWait(ctx, id, container.WaitConditionNotRunning)
	select {
	case <-ended:
	case err := <-failed:
		t.Fatal(err)
	}
	seen, err := e.ContainerInspect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func (e engine) create(t *testing.T, cpu float64, memory int64) (*task.Spec, string) {
	t.Helper()
	s := newTask(t, e.m, cpu, memory)
	parent, err := e.m.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return s, parent
}

// A container is in the task's cgroup, without a limit of its own and yet bound by
// the task's: it is killed, and the task's cgroup has seen no more memory than it may.
func TestEngineMemory(t *testing.T) {
	e := newEngine(t, Settings{})
	s, parent := e.create(t, 1, 32)

	id := e.start(t, parent, "sleep 60")
	seen, err := e.ContainerInspect(contextOf(t), id)
	if err != nil {
		t.Fatal(err)
	}
	at, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", seen.State.Pid))
	if err != nil || !strings.Contains(string(at), "/"+e.m.Layout().dir(s.ID())+"/") {
		t.Errorf("the container is in\n%s, want below %q; %v", at, e.m.Layout().dir(s.ID()), err)
	}
	if seen.HostConfig.CgroupParent != parent {
		t.Errorf("parent %q, want %q", seen.HostConfig.CgroupParent, parent)
	}

	eater := e.wait(t, e.start(t, parent, "x=0123456789abcdef; while :; do x=$x$x; done"))
	if eater.State.ExitCode != 137 {
		t.Errorf("the container that eats memory ended with %d (%q)", eater.State.ExitCode, eater.State.Error)
	}
	t.Logf("exit code %d, OOMKilled %t", eater.State.ExitCode, eater.State.OOMKilled)
	if e.m.Layout().Version == 1 {
		if got := e.m.read(t, s, "memory.max_usage_in_bytes"); len(got) > 8 || got > "33554432" && len(got) == 8 {
			t.Errorf("used %s bytes at most", got)
		}
		if got := e.m.read(t, s, "memory.failcnt"); got == "0" {
			t.Error("the limit was never met")
		}
	} else if got := e.m.read(t, s, "memory.events"); !strings.Contains(got, "oom_kill 1") {
		t.Errorf("memory.events are %q", got)
	}
	if still, err := e.ContainerInspect(contextOf(t), id); err != nil || !still.State.Running {
		t.Errorf("the other container: %+v, %v", still.State, err)
	} else {
		t.Logf("the other container: OOMKilled %t", still.State.OOMKilled)
	}
	if err := e.m.Remove(t.Context(), s); err == nil {
		t.Error("the cgroup was removed under a container")
	}
}

// All containers of a task together have its processes.
func TestEnginePids(t *testing.T) {
	e := newEngine(t, Settings{Pids: 10})
	_, parent := e.create(t, 1, 64)
	seen := e.wait(t, e.start(t, parent, "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 20 & done; exit 0"))
	if seen.State.ExitCode == 0 {
		t.Error("twelve processes were started, ten are allowed")
	}
}

// The processor time of two busy containers is the task's.
func TestEngineCPU(t *testing.T) {
	e := newEngine(t, Settings{})
	s, parent := e.create(t, 0.2, 64)
	for range 2 {
		e.start(t, parent, "while :; do :; done")
	}
	throttled := func() bool {
		for line := range strings.Lines(e.m.read(t, s, "cpu.stat")) {
			var n int
			if _, err := fmt.Sscanf(line, "nr_throttled %d", &n); err == nil && n > 3 {
				return true
			}
		}
		return false
	}
	ctx := contextOf(t)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !throttled() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never throttled: %s in %s", e.m.read(t, s, "cpu.stat"), path.Base(parent))
		}
	}
}
