//go:build linux

package stats_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"go.uber.org/zap"

	"ecsagent/agent/stats"
	"ecsagent/agent/stats/kernel"
	"ecsagent/agent/task"
	linux "ecsagent/platform_linux"
	"ecsagent/tests/image"
)

// engine is the real engine of ECS_TEST_DOCKER_HOST.
type engine struct {
	*client.Client
	image   string
	version int
	memory  uint64
}

func contextOf(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newEngine(t *testing.T) engine {
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
	e := engine{Client: c, version: 1, memory: uint64(info.MemTotal)}
	if info.CgroupVersion == "2" {
		e.version = 2
	}
	img, err := image.Busybox(v1.Config{Env: []string{"PATH=/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(fmt.Sprintf("ecs-stats-test:%d", time.Now().UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := tarball.Write(tag, img, &archive); err != nil {
		t.Fatal(err)
	}
	loaded, err := c.ImageLoad(contextOf(t), &archive)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, loaded.Body)
	if cerr := loaded.Body.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	e.image = tag.String()
	t.Cleanup(func() { _, _ = c.ImageRemove(contextOf(t), e.image, dockerimage.RemoveOptions{Force: true}) })
	return e
}

func (e engine) source(t *testing.T) *kernel.Source {
	s := kernel.New(kernel.Options{
		Cgroup: "/sys/fs/cgroup", Proc: "/proc", Version: e.version, Memory: e.memory,
		Open: linux.OpenCounter, Devices: linux.Devices,
	})
	t.Cleanup(s.Close)
	return s
}

// start starts a shell command in a container.
func (e engine) start(t *testing.T, host container.HostConfig, script string) string {
	t.Helper()
	made, err := e.ContainerCreate(contextOf(t), &container.Config{Image: e.image, Cmd: []string{"sh", "-c", script}}, &host, nil, nil, "")
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

// object is a JSON object as it was read.
type object = map[string]any

// docker is what the engine says of a container; it reads twice, so that it has a
// reading before.
func (e engine) docker(t *testing.T, id string) object {
	t.Helper()
	r, err := e.ContainerStats(contextOf(t), id, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	return decode(t, r.Body)
}

func decode(t *testing.T, r io.Reader) object {
	t.Helper()
	d := json.NewDecoder(r)
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		t.Fatal(err)
	}
	return o
}

func ours(t *testing.T, c *stats.Collector, id string) object {
	t.Helper()
	r, tracked := c.Stats(id)
	if !tracked || r == nil {
		t.Fatalf("no stats of %s: tracked %t", id, tracked)
	}
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	o := decode(t, bytes.NewReader(body))
	delete(o, "network_rate_stats")
	return o
}

// await waits until a container has two samples from after a moment.
func await(t *testing.T, c *stats.Collector, id string, after time.Time) {
	t.Helper()
	ctx, tick := contextOf(t), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		if r, _ := c.Stats(id); r != nil && r.PreRead.After(after) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no two samples in time")
		}
	}
}

// TestEngineAgrees compares what is read from the kernel with what Docker says of the
// same containers: the same fields, and each number between two readings of ours, or
// near them where it may fall.
func TestEngineAgrees(t *testing.T) {
	e := newEngine(t)
	c := stats.New(stats.Options{Source: e.source(t), Log: zap.NewNop(), Every: 100 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })

	const work = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; dd if=/dev/zero of=/tmp/f bs=64k count=64 2>/dev/null; cat /tmp/f >/dev/null; sleep 300"
	taskID := fmt.Sprintf("stats%d", time.Now().UnixNano())
	tests := []struct {
		name, mode string
		host       container.HostConfig
	}{
		{"bridge with limits", "bridge", container.HostConfig{Resources: container.Resources{
			Memory: 64 << 20, NanoCPUs: 5e8, PidsLimit: ptr(int64(100)),
		}}},
		{"bridge below a task's cgroup", "bridge", container.HostConfig{Resources: container.Resources{CgroupParent: "/ecs/" + taskID}}},
		{"below a strange cgroup", "bridge", container.HostConfig{Resources: container.Resources{CgroupParent: "/some/where/" + taskID}}},
		{"host network", "host", container.HostConfig{NetworkMode: "host"}},
		{"no network", "none", container.HostConfig{NetworkMode: "none"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			id := e.start(t, tt.host, work)
			inspect, err := e.ContainerInspect(contextOf(t), id)
			if err != nil {
				t.Fatal(err)
			}
			spec := &task.Spec{
				ARN: "arn:aws:ecs:us-west-2:1:task/" + id[:8] + "/" + taskID, Family: "f", Version: "1", NetworkMode: tt.mode,
				Containers: []task.Container{{Name: "app"}},
			}
			state := task.State{Known: task.Running, Containers: []task.ContainerState{{
				Known: task.ContainerRunning, RuntimeID: id, DockerName: strings.TrimPrefix(inspect.Name, "/"),
			}}}
			c.Observe(&task.Snapshot{Spec: spec, State: state})
			await(t, c, id, time.Now().Add(-time.Hour))

			before := ours(t, c, id)
			theirs := e.docker(t, id)
			await(t, c, id, time.Now())
			after := ours(t, c, id)
			compare(t, "", before, theirs, after)

			state.Containers[0].Known, state.Known = task.ContainerStopped, task.Stopped
			c.Observe(&task.Snapshot{Spec: spec, State: state})
		})
	}
}

func ptr[T any](v T) *T { return &v }

// slack is how far a number may be from ours that need not only rise: memory, and
// the split of CPU time, which the kernel adjusts.
var slack = map[string]float64{"memory_stats": 16 << 20, "cpu_usage": 1e8, "precpu_stats": 1e15, "pids_stats": 2}

// compare walks through three objects of the same shape.
func compare(t *testing.T, path string, before, theirs, after object) {
	t.Helper()
	if want, got := keys(theirs), keys(after); !slices.Equal(got, want) {
		t.Errorf("%s has the fields\n%v, Docker gives\n%v", path, got, want)
		return
	}
	for _, key := range keys(theirs) {
		at := path + "." + key
		switch their := theirs[key].(type) {
		case object:
			b, _ := before[key].(object)
			compare(t, at, b, their, after[key].(object))
		case json.Number:
			low, high := min(value(before[key]), value(after[key])), max(value(before[key]), value(after[key]))
			var room float64
			for part, s := range slack {
				if strings.Contains(at, part) {
					room = max(room, s)
				}
			}
			if got := value(their); got < low-room || got > high+room {
				t.Errorf("%s is %v at Docker, here %v and then %v", at, their, before[key], after[key])
			}
		case []any:
			if mine, ok := after[key].([]any); !ok || len(mine) != len(their) {
				t.Errorf("%s is %v at Docker, here %v", at, their, after[key])
			}
		case string:
			if key != "read" && key != "preread" && after[key] != their {
				t.Errorf("%s is %q at Docker, here %v", at, their, after[key])
			}
		case nil:
			if after[key] != nil {
				t.Errorf("%s is null at Docker, here %v", at, after[key])
			}
		}
	}
}

func keys(o object) []string { return slices.Sorted(maps.Keys(o)) }

func value(v any) float64 {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	f, _ := n.Float64()
	return f
}
