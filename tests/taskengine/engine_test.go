package taskengine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ecsagent/agent/task"
)

// dockerd is a Docker engine of a test's own, which it may end and replace.
type dockerd struct {
	t    *testing.T
	dir  string
	host string
}

func startDockerd(t *testing.T) *dockerd {
	t.Helper()
	if shared.host == "" {
		t.Skip("ECS_TEST_DOCKER_HOST is not set; make test sets it")
	}
	if os.Getuid() != 0 {
		t.Skip("an engine of one's own needs root")
	}
	dir, err := os.MkdirTemp("", "ecs-dockerd-")
	if err != nil {
		t.Fatal(err)
	}
	d := &dockerd{t: t, dir: dir}
	t.Cleanup(func() { d.script("purge") })
	d.host = strings.TrimSpace(d.script("start"))
	return d
}

// script runs scripts/engine for this engine.
func (d *dockerd) script(command string) string {
	d.t.Helper()
	cmd := exec.Command(filepath.Join("..", "..", "scripts", "engine"), command) // on purpose: it ends by itself
	cmd.Env = append(os.Environ(), "ECSAGENT_ENGINE_DIR="+d.dir, "ECSAGENT_ENGINE_PRIVATE=1", "DOCKER_HOST=")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("scripts/engine %s: %v\n%s", command, err, errs.String())
	}
	return string(out)
}

// crash ends the engine the hard way.
func (d *dockerd) crash() {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "docker.pid"))
	if err != nil {
		d.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		d.t.Fatalf("process %q: %v", text, err)
	}
	process, err := os.FindProcess(pid)
	if err == nil {
		err = process.Kill()
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// The engine crashes and comes back, and its containers are over; then another engine
// comes in its place, which never had them.
func TestEngineCrashesAndIsReplaced(t *testing.T) {
	d := startDockerd(t)
	s := noTrouble()
	s.host = d.host
	r := newRig(t, s)
	crashed, removed := r.spec(sleeper("app")), r.spec(sleeper("app"))
	r.runs(crashed)
	d.crash()
	r.ask(crashed) // a stop that finds nobody
	r.waitsFor(crashed, "Docker to stop container app")
	late := r.spec(sleeper("app")) // a start that finds nobody
	r.run(late)
	r.never(crashed, task.Stopped)
	d.script("start")
	st := r.becomes(crashed, task.Stopped)
	if exitOf(&st.Containers[0]) == "none" && reasonOf(&st.Containers[0]) == "" {
		t.Errorf("nobody can tell how the container ended: %s", pretty(st))
	}
	// Depending on when the engine is back, its image is had in the end or not.
	st = r.await(late, "outcome", func(st *task.State) bool { return st.Known >= task.Running })
	if reason := reasonOf(&st.Containers[0]); st.Known == task.Stopped && !strings.HasPrefix(reason, "Cannot") {
		t.Errorf("the start that found no engine ended with reason %q", reason)
	}
	r.heeds(st.Containers[0].RuntimeID)
	r.stops(late)
	r.works()

	r.runs(removed)
	r.proxy.Down(true) // the agent hears nothing of the change
	d.script("purge")
	r.never(removed, task.Stopped)
	d.script("start")
	r.never(removed, task.Stopped)
	r.proxy.Down(false)
	st = r.becomes(removed, task.Stopped)
	r.ended(&st.Containers[0], "none", "ContainerVanishedError: No container matching saved ID found")
	r.works() // its image has to be pulled anew
}
