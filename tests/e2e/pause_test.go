package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"ecsagent/agent/pause"
	"ecsagent/tests/harness"
	"ecsagent/tests/image"
)

// pauseOf is the pause container of a task.
func (e *env) pauseOf(taskARN string) container.InspectResponse {
	e.t.Helper()
	all, err := e.Containers(e.ctx, shared.docker)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, c := range all {
		if c.Labels[harness.LabelTaskARN] == taskARN && c.Labels[harness.LabelContainer] == "~internal~ecs~pause~namespace" {
			info, err := shared.docker.ContainerInspect(e.ctx, c.ID)
			if err != nil {
				e.t.Fatal(err)
			}
			return info
		}
	}
	e.t.Fatalf("task %s has no pause container among %d", taskARN, len(all))
	panic("unreachable")
}

func sharing(containers ...M) M {
	def := definition(containers...)
	def["pidMode"], def["ipcMode"] = "task", "task"
	return def
}

// children lists the states of the children of a process, by /proc.
func children(t *testing.T, pid int) (states []string) {
	t.Helper()
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	for child := range strings.FieldsSeq(string(list)) {
		stat, err := os.ReadFile("/proc/" + child + "/stat")
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		states = append(states, rest[:1])
	}
	return states
}

// TestSharedNamespaces: the containers of a task see each other's processes and shared
// memory through a pause container, which is small, reaps, and is nobody's business.
func TestSharedNamespaces(t *testing.T) {
	e := start(t, `ECS_PAUSE_LABELS={"team":"a"}`, "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s")
	if !e.hasAttribute("ecs.capability.pid-ipc-namespace-sharing") {
		t.Error("the capability is not advertised")
	}
	task := e.running(sharing(
		sh("app", `echo shared >/dev/shm/x; for i in 1 2 3 4 5; do sh -c 'sleep 0.1 & sleep 0.01'; done; trap 'exit 0' TERM; sleep 3600 & while :; do wait; done`),
		sleeper("side", M{"dependsOn": []M{{"containerName": "app", "condition": "START"}}}),
	))
	equal(t, "containers that ECS sees", len(task.Containers), 2)
	held := e.pauseOf(task.TaskARN)
	for _, name := range []string{"app", "side"} {
		info := e.inspect(task, name)
		equal(t, name+"'s PID mode", string(info.HostConfig.PidMode), "container:"+held.ID)
		equal(t, name+"'s IPC mode", string(info.HostConfig.IpcMode), "container:"+held.ID)
	}
	equal(t, "IPC mode", string(held.HostConfig.IpcMode), "shareable")
	equal(t, "network mode", string(held.HostConfig.NetworkMode), "none")
	equal(t, "label", held.Config.Labels["team"], "a")
	equal(t, "environment", len(held.Config.Env), 0)

	e.eventually(10*time.Second, "side to see what app wrote, and pause", func() (bool, error) {
		out, err := e.exec(task.Container("side").RuntimeID, "sh", "-c", "cat /dev/shm/x /proc/1/comm")
		return out == "shared\npause\n", err
	})
	// Orphans of app become pause's children, and are reaped when they end.
	e.eventually(10*time.Second, "the orphans to be reaped", func() (bool, error) {
		return len(children(t, held.State.Pid)) == 0, nil
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", held.State.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rss, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rss)[0])
			t.Logf("pause has %d KiB resident", kib)
			if err != nil || kib > 300 {
				t.Errorf("pause has %d KiB resident, at most 300 are allowed (%v)", kib, err)
			}
		}
	}
	seen, err := shared.docker.ImageInspect(e.ctx, pause.Image)
	if err != nil || seen.Size > 1<<20 {
		t.Errorf("the image has %d bytes (%v)", seen.Size, err)
	}
	stopped := e.stop(task.TaskARN)
	for _, name := range []string{"app", "side"} {
		equal(t, "exit code of "+name, exitCode(stopped.Container(name)), "0")
	}
	// SIGTERM ends it, long before it would be killed, and nothing is left.
	e.eventually(30*time.Second, "the task to be cleaned up", func() (bool, error) {
		all, err := e.Containers(e.ctx, shared.docker)
		return len(all) == 0, err
	})
	e.imageIsKept()
}

func TestPauseKilled(t *testing.T) {
	e := start(t)
	task := e.running(sharing(sleeper("app")))
	held := e.pauseOf(task.TaskARN)
	if err := shared.docker.ContainerKill(e.ctx, held.ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	task = e.stopped(task.TaskARN)
	equal(t, "reason", task.StoppedReason, "Container ~internal~ecs~pause~namespace of the agent ended, and the namespaces of the task with it, exit code 137")
	e.alive()
}

// imageIsKept: the agent loads the pause image when it is missing or another than in
// the archive, at its start and when a task needs it.
func (e *env) imageIsKept() {
	t := e.t
	// Other tests may use it as it is: it works.
	other, err := image.Busybox(v1.Config{Cmd: []string{"sh", "-c", "trap 'exit 0' TERM; sleep 3600 & while :; do wait; done"}})
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(pause.Image)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := tarball.Write(tag, other, &archive); err != nil {
		t.Fatal(err)
	}
	id := func() string {
		seen, err := shared.docker.ImageInspect(e.ctx, pause.Image)
		if err != nil {
			return ""
		}
		return seen.ID
	}
	ours := id()
	loaded, err := shared.docker.ImageLoad(e.ctx, &archive)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, loaded.Body)
	if err := errors.Join(err, loaded.Body.Close()); err != nil {
		t.Fatal(err)
	}
	e.Agent.Kill()
	if err := e.StartAgent(); err != nil {
		t.Fatal(err)
	}
	e.eventually(20*time.Second, "the pause image to be loaded again", func() (bool, error) { return id() == ours, nil })
	e.instance()
	if _, err := shared.docker.ImageRemove(e.ctx, pause.Image, dockerimage.RemoveOptions{Force: true}); err != nil && id() != ours {
		t.Fatal(err)
	}
	e.running(sharing(sleeper("app")))
	equal(t, "image after a task", id(), ours)
}

// exec runs a command in a container and returns its standard output.
func (e *env) exec(id string, command ...string) (string, error) {
	made, err := shared.docker.ContainerExecCreate(e.ctx, id, container.ExecOptions{Cmd: command, AttachStdout: true})
	if err != nil {
		return "", err
	}
	stream, err := shared.docker.ContainerExecAttach(e.ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return "", err
	}
	defer stream.Close()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, io.Discard, stream.Reader)
	return out.String(), err
}
