package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

func TestLaunchAndStop(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		spec.Containers[0].Ports = []task.PortMapping{{ContainerPort: 80, Protocol: task.TCP}}
		r.run(spec)
		st := r.want(spec, task.Running)
		before := []string{"list ", "create app", "start app", "inspect app"}
		if diff := cmp.Diff(before, r.docker.Calls()); diff != "" {
			t.Errorf("calls of a launch: %s", diff)
		}
		c := &st.Containers[0]
		if c.DockerName != r.docker.Containers()[0].Name || c.EndpointID == "" || c.StartedAt.IsZero() || len(c.Networks) != 1 || c.HostPorts[0] != 40001 {
			t.Errorf("container %+v", c)
		}
		if r.ports.Held() != 1 {
			t.Errorf("%d ports held", r.ports.Held())
		}

		r.stopTask(spec)
		st = r.want(spec, task.Stopped)
		if diff := cmp.Diff(append(before, "stop app"), r.docker.Calls()); diff != "" {
			t.Errorf("calls of a stop: %s", diff)
		}
		if c := &st.Containers[0]; exitOf(c) != "143" || c.Error != nil || st.TerminalReason != "" {
			t.Errorf("container %+v", c)
		}
		if r.ports.Held() != 0 {
			t.Errorf("%d ports held after the end", r.ports.Held())
		}
		if diff := cmp.Diff([]task.Status{task.None, task.Running, task.Stopped}, withoutPassing(r.report.Statuses(spec.ARN))); diff != "" {
			t.Errorf("reported: %s", diff)
		}
	})
}

// withoutPassing drops statuses that are observed or not as saves happen to coincide:
// ECS does not hear of them.
func withoutPassing(all []task.Status) []task.Status {
	return slices.DeleteFunc(all, func(s task.Status) bool { return s == task.Created || s == task.ManifestPulled })
}

// TestNameIsDurableFirst: when Docker is asked to create a container, its name and
// endpoint id are on disk.
func TestNameIsDurableFirst(t *testing.T) {
	in(t, nil, func(r *rig) {
		block := make(chan struct{})
		r.docker.Disturb(enginetest.Create, "", enginetest.Knob{Block: block})
		spec := specOf("one", "app")
		r.run(spec)
		saved, ok := r.store.State(spec.ARN)
		if !ok || saved.Containers[0].DockerName == "" || saved.Containers[0].EndpointID == "" {
			t.Errorf("saved %+v", saved)
		}
		close(block)
		synctest.Wait()
		r.want(spec, task.Running)
		if got := r.docker.Containers()[0].Name; got != saved.Containers[0].DockerName {
			t.Errorf("created as %s, saved %s", got, saved.Containers[0].DockerName)
		}
	})
}

func TestShortLivedContainerIsSeenRunning(t *testing.T) {
	in(t, nil, func(r *rig) {
		r.docker.Program("job", enginetest.Program{Exits: true, Code: 3})
		spec := specOf("one", "job")
		r.run(spec)
		st := r.want(spec, task.Stopped)
		if exitOf(&st.Containers[0]) != "3" || st.Containers[0].Error != nil {
			t.Errorf("container %+v", st.Containers[0])
		}
		if !slices.Contains(r.report.Statuses(spec.ARN), task.Running) {
			t.Errorf("reported %v", r.report.Statuses(spec.ARN))
		}
		if n := r.docker.Count(enginetest.Inspect); n != 1 {
			t.Errorf("%d inspects", n)
		}
	})
}

func TestExits(t *testing.T) {
	tests := []struct {
		name     string
		end      func(d *enginetest.Runtime, id string)
		exit     string
		reason   string
		inspects int // besides the one after start
	}{
		{"well", func(d *enginetest.Runtime, id string) { d.Exit(id, 0) }, "0", "", 0},
		{"badly", func(d *enginetest.Runtime, id string) { d.Exit(id, 3) }, "3", "", 1},
		{"out of memory", func(d *enginetest.Runtime, id string) { d.OOM(id) }, "137", "OutOfMemoryError: Container killed due to memory usage", 1},
		{"removed", func(d *enginetest.Runtime, id string) { d.Delete(id) }, "137", "", 1},
		{"docker does not answer", func(d *enginetest.Runtime, id string) {
			d.Disturb(enginetest.Inspect, "", enginetest.Knob{Err: errors.New("no")})
			d.OOM(id)
		}, "137", "OutOfMemoryError: Container killed due to memory usage", 1},
		{"gone without a word", func(d *enginetest.Runtime, id string) {
			c := d.Containers()[0]
			d.Silence(true)
			d.Delete(id)
			d.Silence(false)
			d.Emit(runtime.Event{Type: runtime.EventDestroy, ID: id, Name: c.Name, Labels: c.Labels, Time: time.Now()})
		}, "none", "ContainerVanishedError: No container matching saved ID found", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, nil, func(r *rig) {
				spec := specOf("one", "app")
				r.run(spec)
				r.pass(time.Minute)
				tt.end(r.docker, r.idOf(spec, 0))
				synctest.Wait()
				st := r.want(spec, task.Stopped)
				c := &st.Containers[0]
				reason := ""
				if c.Error != nil {
					reason = c.Error.Error()
				}
				if exitOf(c) != tt.exit || reason != tt.reason || st.TerminalReason != "" {
					t.Errorf("exit %s, reason %q, task reason %q", exitOf(c), reason, st.TerminalReason)
				}
				if n := r.docker.Count(enginetest.Inspect) - 1; n > tt.inspects {
					t.Errorf("%d inspects", n)
				}
				if st.ExecutionStoppedAt.IsZero() {
					t.Error("no end of execution")
				}
			})
		})
	}
}

// TestForeignContainersAreIgnored: labels alone do not make a container ours, and
// nobody else's container costs a call.
func TestForeignContainersAreIgnored(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		calls := len(r.docker.Calls())
		c := labelled(spec, 0, runtime.Container{ID: "other", Name: "other"})
		for _, ev := range []runtime.EventType{runtime.EventDie, runtime.EventDestroy, runtime.EventStart} {
			r.docker.Emit(runtime.Event{Type: ev, ID: c.ID, Name: c.Name, Labels: c.Labels, Time: time.Now()})
			r.docker.Emit(runtime.Event{Type: ev, ID: "x", Name: "x", Time: time.Now()})
		}
		synctest.Wait()
		r.want(spec, task.Running)
		if n := len(r.docker.Calls()); n != calls {
			t.Errorf("%d calls", n-calls)
		}
	})
}

func TestStopsComeBeforeStarts(t *testing.T) {
	in(t, nil, func(r *rig) {
		r.docker.Program("old", enginetest.Program{Deaf: true})
		before, after := specOf("old", "old"), specOf("new", "new")
		for _, s := range []*task.Spec{before, after} {
			s.Containers[0].Ports = []task.PortMapping{{ContainerPort: 80, HostPort: 80, Protocol: task.TCP}}
		}
		r.run(before)
		r.deliver(task.Request{Spec: after, Desired: task.Running}, task.Request{Spec: before, Desired: task.Stopped})
		if r.state(after).Known != task.None || r.state(before).Known != task.Running {
			t.Fatalf("while the old one stops: %v, %v", r.state(after).Known, r.state(before).Known)
		}
		r.pass(30 * time.Second)
		r.want(before, task.Stopped)
		r.want(after, task.Running)
	})
}

// TestStoppingDelaysNobody: a container that takes its time to stop holds up neither
// other stops nor launches.
func TestStoppingDelaysNobody(t *testing.T) {
	in(t, func(o *Options) { o.Creates, o.Starts = 1, 1 }, func(r *rig) {
		r.docker.Program("deaf", enginetest.Program{Deaf: true})
		slow, quick, fresh := specOf("slow", "deaf"), specOf("quick", "app"), specOf("fresh", "app")
		slow.Containers[0].StopTimeout = 100 * time.Second
		r.run(slow)
		r.run(quick)
		r.deliver(task.Request{Spec: slow, Desired: task.Stopped}, task.Request{Spec: quick, Desired: task.Stopped},
			task.Request{Spec: fresh, Desired: task.Running})
		r.want(quick, task.Stopped)
		r.want(fresh, task.Running)
		r.want(slow, task.Running)
		r.pass(100 * time.Second)
		r.want(slow, task.Stopped)
	})
}

func TestLaunchesAreBounded(t *testing.T) {
	in(t, func(o *Options) { o.Creates, o.Starts = 4, 4; o.Capacity.CPU = 1 << 20; o.Capacity.Memory = 1 << 20 }, func(r *rig) {
		r.docker.Disturb(enginetest.Start, "", enginetest.Knob{Delay: time.Second})
		var all []task.Request
		for _, id := range strings.Split("abcdefghijklmnopqrst", "") {
			all = append(all, task.Request{Spec: specOf(id, "app"), Desired: task.Running})
		}
		r.deliver(all...)
		for done := 0; done <= len(all); done += 4 {
			running := 0
			for _, s := range r.Snapshots() {
				if s.State.Known == task.Running {
					running++
				}
			}
			if running != done {
				t.Fatalf("%d tasks run, want %d", running, done)
			}
			r.pass(time.Second)
		}
	})
}

func TestBackFromTheDead(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		id := r.idOf(spec, 0)
		r.docker.Exit(id, 5)
		synctest.Wait()
		r.want(spec, task.Stopped)
		for range 3 {
			r.pass(time.Second)
			if err := r.docker.Start(context.Background(), id); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if c := r.docker.Containers()[0]; c.Status != task.ContainerStopped {
				t.Fatalf("container is %v", c.Status)
			}
		}
		if st := r.want(spec, task.Stopped); exitOf(&st.Containers[0]) != "5" {
			t.Errorf("exit code %s", exitOf(&st.Containers[0]))
		}
	})
}

func TestRestartPolicy(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		spec.Containers[0].Restart = &task.RestartPolicy{Enabled: true, AttemptPeriod: time.Minute}
		r.run(spec)
		started := r.state(spec).Containers[0].StartedAt
		r.pass(70 * time.Second)
		r.docker.Exit(r.idOf(spec, 0), 1)
		synctest.Wait()
		st := r.want(spec, task.Running)
		if c := st.Containers[0]; c.RestartCount != 1 || !c.StartedAt.Equal(started) || c.Restarting || c.ExitCode != nil {
			t.Errorf("after the first exit: %+v", c)
		}
		if n := r.docker.Count(enginetest.Create); n != 1 {
			t.Errorf("%d creates", n)
		}
		r.pass(5 * time.Second)
		r.docker.Exit(r.idOf(spec, 0), 1)
		synctest.Wait()
		if st := r.want(spec, task.Stopped); st.Containers[0].RestartCount != 1 {
			t.Errorf("after the second exit: %+v", st.Containers[0])
		}
	})
}

func TestHealthyDependency(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "db", "app")
		spec.Containers[0].HealthCheckType = "docker"
		spec.Containers[0].DockerConfig = `{"Healthcheck":{"Test":["CMD","x"]}}`
		spec.Containers[1].DependsOn = []task.Dependency{{Container: "db", Condition: task.DependsHealthy}}
		r.run(spec)
		if st := r.state(spec); st.Containers[1].Known != task.ContainerManifestPulled {
			t.Fatalf("app is %v", st.Containers[1].Known)
		}
		r.docker.SetHealth(r.idOf(spec, 0), task.HealthHealthy)
		synctest.Wait()
		r.want(spec, task.Running)
		r.stopTask(spec)
		r.want(spec, task.Stopped)
		var stops []string
		for _, c := range r.docker.Calls() {
			if strings.HasPrefix(c, "stop") {
				stops = append(stops, c)
			}
		}
		if diff := cmp.Diff([]string{"stop app", "stop db"}, stops); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStartTimeoutIsNoticed(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "db", "app")
		spec.Containers[0].HealthCheckType = "docker"
		spec.Containers[0].DockerConfig = `{"Healthcheck":{"Test":["CMD","x"]}}`
		spec.Containers[0].StartTimeout = 10 * time.Second
		spec.Containers[1].DependsOn = []task.Dependency{{Container: "db", Condition: task.DependsHealthy}}
		r.run(spec)
		r.pass(9 * time.Second)
		if st := r.state(spec); st.Desired != task.Running {
			t.Fatalf("too early: %+v", st)
		}
		r.pass(time.Second)
		st := r.want(spec, task.Stopped)
		if err := st.Containers[1].Error; err == nil || !strings.HasSuffix(err.Message, "has timed out.") || exitOf(&st.Containers[1]) != "143" {
			t.Errorf("container %+v", st.Containers[1])
		}
	})
}

// TestStopDuringPull: the stop does not wait for the pull.
func TestStopDuringPull(t *testing.T) {
	in(t, nil, func(r *rig) {
		r.images.OnEnsure("app:1", enginetest.Answer{Delay: time.Hour})
		spec := specOf("one", "app")
		r.run(spec)
		r.pass(time.Minute)
		now := time.Now()
		r.stopTask(spec)
		st := r.want(spec, task.Stopped)
		if c := &st.Containers[0]; c.Error != nil || c.ExitCode != nil || !st.StoppedAt.Equal(now) {
			t.Errorf("container %+v", c)
		}
		if n := r.docker.Count(enginetest.Create); n != 0 {
			t.Errorf("%d creates", n)
		}
	})
}

func TestVolumes(t *testing.T) {
	volumes := func(mutate func(*task.Spec)) *task.Spec {
		spec := specOf("one", "app")
		spec.Volumes = []task.Volume{
			{Name: "scratch", Type: task.VolumeHost, Host: &task.HostVolume{}},
			{Name: "host", Type: task.VolumeHost, Host: &task.HostVolume{SourcePath: "/srv"}},
			{Name: "data", Type: task.VolumeDocker, Docker: &task.DockerVolume{Scope: task.VolumeShared, Autoprovision: true, Driver: "local"}},
		}
		for _, v := range spec.Volumes {
			spec.Containers[0].MountPoints = append(spec.Containers[0].MountPoints, task.MountPoint{SourceVolume: v.Name, ContainerPath: "/" + v.Name})
		}
		mutate(spec)
		return spec
	}
	in(t, nil, func(r *rig) {
		spec := volumes(func(*task.Spec) {})
		r.run(spec)
		r.want(spec, task.Running)
		if got := r.docker.Volumes(); len(got) != 2 {
			t.Errorf("volumes %v", got)
		}
		r.stopTask(spec)
		r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
		r.pass(4 * time.Hour)
		if diff := cmp.Diff([]string{"data"}, r.docker.Volumes()); diff != "" {
			t.Errorf("after clean-up: %s", diff)
		}
	})
	in(t, nil, func(r *rig) {
		spec := volumes(func(s *task.Spec) { s.Volumes[2].Docker.Autoprovision = false })
		r.run(spec)
		want := "resource cannot be initialized for task " + spec.ARN + ": initialize volume: volume detection failed, " +
			"volume 'data' does not exist and autoprovision is set to false: CannotInspectVolumeError: get data: no such volume"
		if st := r.want(spec, task.Stopped); st.TerminalReason != want {
			t.Errorf("reason %q", st.TerminalReason)
		}
	})
	in(t, nil, func(r *rig) {
		r.docker.Disturb(enginetest.CreateVolume, "", enginetest.Knob{Err: &task.Error{Name: "CannotCreateVolumeError", Message: "plugin not found"}})
		spec := volumes(func(*task.Spec) {})
		r.run(spec)
		if st := r.want(spec, task.Stopped); st.TerminalReason != "Plugin not found" || st.Containers[0].Error != nil {
			t.Errorf("reason %q", st.TerminalReason)
		}
	})
}

type roleCredentials struct{ have bool }

func (c *roleCredentials) Has(string) bool { return c.have }

func TestWaitsForCredentials(t *testing.T) {
	creds := &roleCredentials{}
	in(t, func(o *Options) { o.Credentials = creds }, func(r *rig) {
		spec := specOf("one", "app")
		spec.ExecutionCredentialsID = "role-1"
		spec.Containers[0].RegistryAuth = &task.RegistryAuth{Type: "ecr", ECR: &task.ECRAuth{UseExecutionRole: true}}
		r.run(spec)
		r.pass(time.Hour)
		if r.state(spec).Known != task.None || r.images.Asked() != 0 {
			t.Fatalf("did not wait: %+v", r.state(spec))
		}
		creds.have = true
		r.CredentialsArrived("role-1")
		synctest.Wait()
		r.want(spec, task.Running)
	})
}

// BenchmarkLaunch is what the engine itself costs from delivery to RUNNING.
func BenchmarkLaunch(b *testing.B) {
	docker, running := enginetest.New(), make(chan struct{}, 1)
	defer docker.Close()
	e, err := New(Options{
		Store: enginetest.NewStore(), Runtime: docker, Images: &enginetest.Images{}, HostPorts: &enginetest.Ports{},
		Reporter: &enginetest.Reporter{Check: func(s *task.Snapshot) {
			if s.State.Known == task.Running {
				running <- struct{}{}
			}
		}},
		Builder: dockerspec.New(dockerspec.Env{OS: "linux", CPUs: 2, Cluster: "demo"}, rand.Uint64), Log: zap.NewNop(),
		Capacity: Capacity{CPU: 1 << 40, Memory: 1 << 40},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		spec := specOf(fmt.Sprint(i), "app")
		if err := e.Deliver(ctx, task.Delivery{Tasks: []task.Request{{Spec: spec, Desired: task.Running}}}); err != nil {
			b.Fatal(err)
		}
		<-running
	}
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// Where Docker's events are late or lost, a stop asks how the container ended.
func TestStopAsksWhenEventsSayNothing(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		r.want(spec, task.Running)
		r.docker.Silence(true)
		r.stopTask(spec)
		time.Sleep(2 * endGrace)
		st := r.want(spec, task.Stopped)
		calls := r.docker.Calls()
		if last := calls[len(calls)-1]; last != "inspect app" || exitOf(&st.Containers[0]) != "143" {
			t.Errorf("last call %q, container %+v", last, st.Containers[0])
		}
	})
}

// TestStopAsksUntilItIsTold: a container that is stopped has an exit code, which Docker
// may not tell at once.
func TestStopAsksUntilItIsTold(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		r.want(spec, task.Running)
		r.docker.Silence(true)
		r.docker.Disturb(enginetest.Inspect, "app", enginetest.Knob{Err: errors.New("EOF"), Times: 2})
		r.stopTask(spec)
		r.pass(2 * endGrace)
		r.want(spec, task.Running)
		r.pass(10 * time.Second)
		if st := r.want(spec, task.Stopped); exitOf(&st.Containers[0]) != "143" || st.Containers[0].Error != nil {
			t.Errorf("container %+v", st.Containers[0])
		}
	})
}

// An end of the past is looked at: the container may have been started again since, or
// Docker had not yet written down that it ended.
func TestEndOfThePast(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		c, zero := r.docker.Containers()[0], 0
		end := runtime.Event{Type: runtime.EventDie, ID: c.ID, Name: c.Name, Labels: c.Labels, ExitCode: &zero, Time: time.Now(), Past: true}
		r.docker.Emit(end)
		synctest.Wait()
		r.want(spec, task.Running)
		r.docker.Silence(true)
		r.docker.Exit(c.ID, 0)
		r.docker.Disturb(enginetest.List, "", enginetest.Knob{Err: errors.New("odd")}) // nothing else tells
		r.docker.Silence(false)
		synctest.Wait()
		r.want(spec, task.Running)
		r.docker.Emit(end)
		synctest.Wait()
		r.want(spec, task.Stopped)
		r.docker.Disturb(enginetest.List, "", enginetest.Knob{})
	})
}

// An end of the past is not that of a stop under way, whose exit code is another.
func TestEndOfThePastDuringAStop(t *testing.T) {
	in(t, nil, func(r *rig) {
		spec := specOf("one", "app")
		r.run(spec)
		c, nine := r.docker.Containers()[0], 9
		goOn := make(chan struct{})
		r.docker.Disturb(enginetest.Stop, "app", enginetest.Knob{Block: goOn})
		r.stopTask(spec)
		r.docker.Emit(runtime.Event{Type: runtime.EventDie, ID: c.ID, Name: c.Name, Labels: c.Labels, ExitCode: &nine, Time: time.Now(), Past: true})
		synctest.Wait()
		close(goOn)
		synctest.Wait()
		st := r.want(spec, task.Stopped)
		if code := st.Containers[0].ExitCode; code == nil || *code == nine {
			t.Errorf("exit code %s, want that of the stop", exitOf(&st.Containers[0]))
		}
	})
}
