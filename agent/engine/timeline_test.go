package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/image"
	"ecsagent/agent/task"
)

// told is a task's timeline as "container event: detail".
func (r *rig) told(spec *task.Spec) (all []string) {
	line := r.Timeline(spec.ARN)
	if line == nil {
		r.t.Fatalf("task %s has no timeline", spec.ARN)
	}
	for _, e := range line.Entries {
		all = append(all, strings.TrimSpace(e.Container+" "+e.Event+": "+e.Detail))
	}
	return all
}

// waits are a task's waits as "container for: detail since", the latter counted in
// seconds that have passed.
func (r *rig) waits(spec *task.Spec) (all []string) {
	for _, w := range r.Timeline(spec.ARN).Waits {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s: %s %.0f", w.Container, w.For, w.Detail, time.Since(w.Since).Seconds())))
	}
	return all
}

func (r *rig) wantWaits(spec *task.Spec, want ...string) {
	if diff := cmp.Diff(want, r.waits(spec)); diff != "" {
		r.t.Errorf("waits of %s: %s", spec.ID(), diff)
	}
}

func TestTimelineOfALaunchAndAStop(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		r.wantWaits(spec, "report: ECS to accept that it is RUNNING 0")
		r.Sent(spec.ARN, task.Sent{Task: task.Running})
		synctest.Wait()
		r.wantWaits(spec)
		r.pass(time.Minute)
		r.stopTask(spec)
		want := []string{
			"accepted: desired RUNNING", "admitted:",
			"app status: NONE -> MANIFEST_PULLED", "status: NONE -> MANIFEST_PULLED",
			"app pull started: app:1", "app pull ended: app:1", "app status: MANIFEST_PULLED -> PULLED",
			"app status: PULLED -> CREATED", "status: MANIFEST_PULLED -> CREATED",
			"app status: CREATED -> RUNNING", "status: CREATED -> RUNNING", "reported: RUNNING",
			"desired: RUNNING -> STOPPED", "app status: RUNNING -> STOPPED, exit code 143", "status: RUNNING -> STOPPED",
		}
		if diff := cmp.Diff(want, r.told(spec)); diff != "" {
			t.Error(diff)
		}
		line := r.Timeline(spec.ARN)
		if e := line.Entries[len(line.Entries)-1]; !e.At.Equal(time.Now()) || !line.Since.Equal(time.Now()) || !line.Entries[0].At.Before(e.At) {
			t.Errorf("times: %v, since %v", e.At, line.Since)
		}
		if r.Timeline(arnOf("nobody")) != nil {
			t.Error("an unknown task has a timeline")
		}
	})
}

// progress tells of every pull that it is third.
type progress struct{ Images }

func (progress) Progress(r image.Request) string { return "3rd in queue" }

func TestWaitsInWords(t *testing.T) {
	report := "report: ECS to accept that it is RUNNING 0"
	t.Run("host", func(t *testing.T) {
		in(t, nil, func(r *rig) {
			holder, big, taken, reserved := specOf("holder", "app"), specOf("big", "app"), specOf("taken", "app"), specOf("reserved", "app")
			holder.CPU, holder.Memory, big.CPU, big.Memory = 1, 1920, 1.5, 512
			for spec, n := range map[*task.Spec]uint16{holder: 80, taken: 80, reserved: 22} {
				spec.Containers[0].Ports = []task.PortMapping{{ContainerPort: 1, HostPort: n, Protocol: task.TCP}}
			}
			r.run(holder)
			r.run(big)
			r.pass(2 * time.Second)
			r.run(taken)
			r.pass(time.Second)
			r.run(reserved)
			r.wantWaits(big, "resources: 512 MiB of memory, 128 free, 1536 CPU units, 1024 free; 1st in the queue 3")
			r.wantWaits(taken, "resources: host port 80 is taken by task holder; 2nd in the queue 1")
			r.wantWaits(reserved, "resources: host port 22 is reserved; 3rd in the queue 0")
			if n := len(r.Timelines()); n != 4 {
				t.Errorf("%d timelines", n)
			}
			r.stopTask(holder)
			r.wantWaits(taken, report)
			r.wantWaits(reserved, "resources: host port 22 is reserved; 1st in the queue 0")
			r.stopTask(reserved)
		})
	})
	t.Run("containers", func(t *testing.T) {
		in(t, nil, func(r *rig) {
			spec := specOf("one", "db", "app", "job", "late")
			spec.Containers[0].HealthCheckType = "docker"
			spec.Containers[0].DockerConfig = `{"Healthcheck":{"Test":["CMD","x"]}}`
			spec.Containers[1].DependsOn = []task.Dependency{{Container: "db", Condition: task.DependsHealthy}}
			spec.Containers[2].Essential = false
			spec.Containers[3].DependsOn = []task.Dependency{{Container: "job", Condition: task.DependsComplete}}
			r.run(spec)
			r.wantWaits(spec, "app dependency: health of db 0", "late dependency: dependency job to be COMPLETE 0")
			r.docker.Disturb(enginetest.Stop, "", enginetest.Knob{Err: errors.New("no"), Times: 1})
			r.docker.Disturb(enginetest.Stop, "db", enginetest.Knob{Block: make(chan struct{})})
			r.stopTask(spec)
			r.wantWaits(spec, "db docker: Docker to stop container db 0", "job docker: Docker to stop container job (2nd attempt) 0")
			r.pass(2 * time.Second)
			r.wantWaits(spec, "db docker: Docker to stop container db 2")
			if all := strings.Join(r.told(spec), "\n"); !strings.Contains(all, "job stop failed: 1st attempt: no") {
				t.Error(all)
			}
		})
	})
	t.Run("pull", func(t *testing.T) {
		in(t, func(o *Options) { o.Images = progress{o.Images} }, func(r *rig) {
			r.images.OnEnsure("app:1", enginetest.Answer{Delay: time.Hour})
			spec := specOf("one", "app")
			r.run(spec)
			r.pass(5 * time.Second)
			r.wantWaits(spec, "app image: pull of app:1, 3rd in queue 5")
		})
	})
	t.Run("docker is down", func(t *testing.T) {
		in(t, nil, func(r *rig) {
			spec := specOf("one", "app")
			r.run(spec)
			r.docker.Down(true)
			r.stopTask(spec)
			r.pass(7 * time.Second)
			if got := r.waits(spec); len(got) != 2 || !strings.HasPrefix(got[0], "app docker: Docker to stop container app (2nd attempt)") {
				t.Errorf("waits %q", got)
			}
			r.stop()
			r.start()
			r.pass(3 * time.Second)
			r.wantWaits(spec, "docker: Docker to show which containers exist 3")
			r.docker.Down(false)
		})
	})
}

// TestTimelineAfterARestart: what the state knows is told again.
func TestTimelineAfterARestart(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		name := r.state(spec).Containers[0].DockerName
		r.pass(time.Minute)
		r.stop()
		r.start()
		want := []string{"accepted: desired RUNNING", "app created: " + name, "app started:", "status: RUNNING", "restored: the agent was started again", "admitted:"}
		if diff := cmp.Diff(want, r.told(spec)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestTimelineIsBounded: however much happens, the first and the latest entries stay
// and what was told before does not change.
func TestTimelineIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c chronicle
		var early chronicle
		total := rapid.IntRange(1, 2000).Draw(t, "total")
		at := rapid.IntRange(0, total-1).Draw(t, "early")
		for i := range total {
			c.add(task.Entry{Detail: fmt.Sprint(i)})
			if i == at {
				early = c
			}
		}
		for c, total := range map[*chronicle]int{&c: total, &early: at + 1} {
			head, tail, dropped := c.entries()
			if len(head)+len(tail) != min(total, timelineHead+timelineTail) || len(head)+len(tail)+dropped != total {
				t.Fatalf("%d + %d kept and %d dropped of %d", len(head), len(tail), dropped, total)
			}
			for i, e := range head {
				if e.Detail != fmt.Sprint(i) {
					t.Fatalf("first entry %d is %s", i, e.Detail)
				}
			}
			for i, e := range tail {
				if want := fmt.Sprint(total - len(tail) + i); e.Detail != want {
					t.Fatalf("late entry %d is %s, want %s", i, e.Detail, want)
				}
			}
		}
	})
}
