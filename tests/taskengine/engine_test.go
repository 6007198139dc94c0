package taskengine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ecsagent/agent/task"
	"ecsagent/tests/lab"
)

// dockerd is a Docker engine of a test's own, which it may end and replace.
type dockerd struct {
	*lab.Dockerd
	t *testing.T
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
	d := &dockerd{t: t}
	d.Dockerd, err = lab.StartDockerd(dir, filepath.Join("..", "..", "scripts"))
	t.Cleanup(func() { d.must(d.Purge()) })
	d.must(err)
	return d
}

func (d *dockerd) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// The engine crashes and comes back, and its containers are over; then another engine
// comes in its place, which never had them.
func TestEngineCrashesAndIsReplaced(t *testing.T) {
	d := startDockerd(t)
	s := noTrouble()
	s.host = d.Host
	r := newRig(t, s)
	crashed, removed := r.spec(sleeper("app")), r.spec(sleeper("app"))
	r.runs(crashed)
	d.must(d.Kill())
	r.ask(crashed) // a stop that finds nobody
	r.waitsFor(crashed, "Docker to stop container app")
	late := r.spec(sleeper("app")) // a start that finds nobody
	r.run(late)
	r.never(crashed, task.Stopped)
	d.must(d.Start())
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
	d.must(d.Purge())
	r.never(removed, task.Stopped)
	d.must(d.Start())
	r.never(removed, task.Stopped)
	r.proxy.Down(false)
	st = r.becomes(removed, task.Stopped)
	r.ended(&st.Containers[0], "none", "ContainerVanishedError: No container matching saved ID found")
	r.works() // its image has to be pulled anew
}
