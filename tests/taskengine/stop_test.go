package taskengine

import (
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/agent/engine"
	"ecsagent/agent/task"
	"ecsagent/tests/proxy"
)

// deaf ignores SIGTERM.
func deaf(name string, edit ...func(*task.Container)) task.Container {
	return sh(name, "trap '' TERM; sleep 3600 & while :; do wait; done", edit...)
}

func stopTimeout(d time.Duration) func(*task.Container) {
	return func(c *task.Container) { c.StopTimeout = d }
}

func TestStopOfADeafContainer(t *testing.T) {
	r := newRig(t, noTrouble())
	spec := r.spec(deaf("app", stopTimeout(2*time.Second)))
	r.runs(spec)
	begin := time.Now()
	st := r.stops(spec)
	if d := time.Since(begin); d < 2*time.Second {
		t.Errorf("killed after %v", d)
	}
	r.ended(&st.Containers[0], "137", "")
}

func TestStopSignalOfTheImage(t *testing.T) {
	r := newRig(t, noTrouble())
	ref, _, err := push(r.ctx, "signal:1", v1.Config{Env: []string{"PATH=/bin"}, StopSignal: "SIGUSR1"})
	if err != nil {
		t.Fatal(err)
	}
	spec := r.spec(sh("app", "trap '' TERM; trap 'exit 5' USR1; sleep 3600 & while :; do wait; done",
		stopTimeout(time.Minute), func(c *task.Container) { c.Image = ref }))
	r.runs(spec)
	st := r.stops(spec)
	r.ended(&st.Containers[0], "5", "")
}

// Docker refuses to stop, and so the container is killed.
func TestRefusedStopIsEscalated(t *testing.T) {
	r := newRig(t, noTrouble())
	spec := r.spec(sleeper("app"))
	r.runs(spec)
	f := r.proxy.Disturb(stop, 0, proxy.Fail(http.StatusInternalServerError, "boom"))
	st := r.stops(spec)
	r.ended(&st.Containers[0], "137", "CannotStopContainerError: Error response from daemon: boom")
	if f.Hits() != 5 {
		t.Errorf("%d attempts to stop", f.Hits())
	}
	r.tells(spec, task.EventStopFailed, "1st attempt: CannotStopContainerError: Error response from daemon: boom")
	f.Lift()
	r.works()
}

// Docker neither stops nor kills a container: nobody is told that it stopped, and the
// host's resources stay with it, until it is stopped at last.
func TestContainerThatCannotBeStopped(t *testing.T) {
	s := noTrouble()
	s.options = func(o *engine.Options) { o.Capacity.Memory = 100 }
	r := newRig(t, s)
	holds, waits := r.spec(sleeper("app")), r.spec(sleeper("app"))
	holds.Memory, waits.Memory = 80, 80
	st := r.runs(holds)
	id := st.Containers[0].RuntimeID
	stops := r.proxy.Disturb(stop, 0, proxy.Fail(http.StatusInternalServerError, "boom"))
	kills := r.proxy.Disturb(kill, 0, proxy.Fail(http.StatusInternalServerError, "no way"))
	r.ask(holds)
	r.run(waits)
	r.hit(kills, 1)
	r.eventually("the failed kill to be told", func() bool { return strings.Contains(r.story(holds), "no way") })
	r.waitsFor(holds, "Docker to stop container app")
	r.never(holds, task.Stopped)
	r.waitsFor(waits, "80 MiB of memory, 20 free; 1st in the queue")
	if c := r.single(holds); c.State != "running" {
		t.Errorf("the container is %s", c.State)
	}
	if c := r.state(holds).Containers[0]; reasonOf(&c) != "CannotStopContainerError: Error response from daemon: boom" {
		t.Errorf("reason so far %q", reasonOf(&c))
	}
	r.tells(holds, task.EventError, "CannotStopContainerError")
	r.tells(holds, task.EventStopFailed, "kill: CannotStopContainerError: Error response from daemon: no way")
	stops.Lift()
	kills.Lift()
	// It need not wait for the next attempt: its end is enough.
	r.kill(id, "KILL")
	st = r.becomes(holds, task.Stopped)
	r.ended(&st.Containers[0], "137", "CannotStopContainerError: Error response from daemon: boom")
	r.becomes(waits, task.Running)
	r.stops(waits)
}

// Docker takes the stop and never answers: the container is killed.
func TestStopThatIsNeverAnswered(t *testing.T) {
	s := noTrouble()
	s.docker.StopGrace = time.Second
	r := newRig(t, s)
	spec := r.spec(deaf("app", stopTimeout(time.Second)))
	r.runs(spec)
	r.proxy.Disturb(stop, 0, proxy.Hang())
	st := r.stops(spec)
	r.ended(&st.Containers[0], "137", "DockerTimeoutError: Could not transition to stopped; timed out after waiting 2s")
}

// A container that is gone when it is to be stopped has stopped.
func TestStopOfAContainerThatIsGone(t *testing.T) {
	r := newRig(t, noTrouble())
	spec := r.spec(sleeper("app"))
	r.runs(spec)
	held := make(chan struct{})
	f := r.proxy.Disturb(stop, 1, proxy.Hold(held))
	streams := r.proxy.Disturb(events, 0, proxy.Hang()) // nobody tells of it
	r.proxy.CloseStreams()
	r.hit(streams, 1)
	r.ask(spec)
	r.hit(f, 1)
	r.removeAll()
	close(held)
	st := r.becomes(spec, task.Stopped)
	r.ended(&st.Containers[0], "none", "")
	streams.Lift()
}

// A task that takes its time to stop holds up nobody: others start and stop while Docker
// has not even taken its stop.
func TestStoppingTaskHoldsUpNobody(t *testing.T) {
	r := newRig(t, noTrouble())
	slow := r.spec(deaf("a", stopTimeout(time.Minute)), deaf("b", stopTimeout(time.Minute)))
	st := r.runs(slow)
	r.ask(slow)
	r.waitsFor(slow, "Docker to stop container")
	r.works()
	held := make(chan struct{})
	f := r.proxy.Disturb(stop, 2, proxy.Hold(held))
	many := r.spec(sleeper("a"), sleeper("b"))
	r.runs(many)
	r.ask(many)
	r.hit(f, 2)
	r.works()
	r.never(many, task.Stopped)
	r.never(slow, task.Stopped)
	close(held)
	r.becomes(many, task.Stopped)
	for i := range st.Containers {
		r.kill(st.Containers[i].RuntimeID, "KILL")
	}
	r.becomes(slow, task.Stopped)
}

// Containers stop after everything that depends on them, however many steps away, each
// within its own stop time-out.
func TestStopOrderIsTransitive(t *testing.T) {
	r := newRig(t, noTrouble())
	slowly := "trap 'sleep 0.3; exit 0' TERM; sleep 3600 & while :; do wait; done"
	spec := r.spec(
		sh("db", slowly),
		sh("cache", slowly, after("db", task.DependsStart)),
		sh("api", slowly, after("cache", task.DependsCreate)),
		deaf("web", after("api", task.DependsStart), stopTimeout(time.Second)),
	)
	r.runs(spec)
	st := r.stops(spec)
	for i, exit := range []string{"0", "0", "0", "137"} {
		r.ended(&st.Containers[i], exit, "")
	}
	for i := range 3 {
		if first, then := &st.Containers[i+1], &st.Containers[i]; then.FinishedAt.Before(first.FinishedAt) {
			t.Errorf("%s ended at %v, before %s, which depends on it, at %v", spec.Containers[i].Name, then.FinishedAt, spec.Containers[i+1].Name, first.FinishedAt)
		}
	}
	r.tells(spec, task.EventStatus, "RUNNING -> STOPPED, exit code 137")
}
