package fault

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/volume"

	"ecsagent/agent/failpoint"
	"ecsagent/tests/harness"
	"ecsagent/tests/lab"
	"ecsagent/tests/proxy"
)

var (
	whole = flag.Bool("matrix", false, "run the whole matrix and not a fifth of it")
	part  = flag.Int("part", 0, "which fifth, from 0")
)

// nths are further moments at which a failpoint is passed in a new situation; every
// failpoint is tried the first time that it is passed.
var nths = map[string][]int{
	"store.journal": {2, 3, 5, 8, 13}, "store.state": {2, 4, 6}, "store.sent": {2, 4}, "store.tasks": {2}, "store.delete": {2},
	"docker.created": {2, 3}, "docker.started": {2, 3}, "docker.inspecting": {3}, "docker.removing": {2, 3},
	"ecs.SubmitTaskStateChange": {2, 4, 6}, "acs.send": {2, 3, 4}, "acs.payload": {2, 3},
}

// skipped are failpoints that the scenario passes only under circumstances.
var skipped = func() map[string]string {
	out := map[string]string{}
	for _, name := range failpoint.All() {
		switch {
		case strings.HasPrefix(name, "network."), strings.HasPrefix(name, "store.attachment."), strings.HasPrefix(name, "ecs.SubmitAttachmentStateChanges."):
			out[name] = "for tasks of network mode awsvpc: tests/e2e TestAWSVPCKilledAtFailpoints"
		case strings.HasPrefix(name, "docker.list-processes."):
			out[name] = "after a kill in the start of an exec agent: TestKilledWhileTheExecAgentStarts"
		case slices.Contains(calls(), name), slices.Contains(renewals, name):
			out[name] = "for tasks with resources of other services: TestKilledWithResources"
		case slices.Contains(answering(), name):
			out[name] = "when a container asks: TestKilledWhileAsked"
		case slices.Contains(joining, name):
			out[name] = "without a cluster in the settings: TestKilledWhileTheClusterIsMade"
		case slices.Contains(seldom, name):
			out[name] = "on a full disk and on a Spot instance: TestKilledAtSeldomSteps"
		}
	}
	return out
}()

func cases() []string {
	var all []string
	for _, name := range failpoint.All() {
		if skipped[name] != "" {
			continue
		}
		all = append(all, name+"=kill@1")
		place := name[:strings.LastIndex(name, ".")]
		for _, n := range nths[place] {
			all = append(all, fmt.Sprintf("%s=kill@%d", name, n))
		}
	}
	slices.Sort(all)
	if *whole {
		return all
	}
	return slices.DeleteFunc(all, func(c string) bool { return !inPart(c) })
}

// inPart reports whether a case is among the fifth that is run.
func inPart(c string) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(c))
	return int(h.Sum32()%5) == *part
}

// TestKilledAtEveryFailpoint: the agent is killed there, once, and started again.
func TestKilledAtEveryFailpoint(t *testing.T) {
	t.Parallel()
	for _, c := range cases() {
		t.Run(c, func(t *testing.T) {
			t.Parallel()
			ctx, s := site(t)
			if err := s.Keep("ECS_FAILPOINTS=" + c); err != nil {
				t.Fatal(err)
			}
			scenario(ctx, t, s)
			name, nth, _ := strings.Cut(c, "=kill@")
			switch passed, err := s.Passed(); {
			case err != nil:
				t.Error(err)
			case s.Deaths() == 1:
			case s.Deaths() == 0 && nth != "1" && passed[name] > 0:
				// What comes at once on a busy machine is one write, one message.
				t.Logf("%s was passed %d times only", name, passed[name])
			default:
				t.Errorf("the agent was killed %d times, want once; it passed %v", s.Deaths(), passed)
			}
		})
	}
}

// scenario runs a service and a job from start to clean-up and checks everything.
func scenario(ctx context.Context, t *testing.T, s *lab.Site) {
	t.Helper()
	if err := s.AwaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	family := lab.Name("m")
	// One that is there already, so that it is looked at.
	if _, err := s.Lab.Docker.VolumeCreate(ctx, volume.CreateOptions{Name: family + "-shared"}); err != nil {
		t.Fatal(err)
	}
	s.ECS.ExecuteCommand = true
	run := launch(ctx, t, s, service(s, family))
	s.ECS.ExecuteCommand = false
	once := launch(ctx, t, s, job(s, family))
	app := await(ctx, t, s, run, "RUNNING").Container("app")
	if err := harness.AwaitTermHandler(ctx, s.Lab.Docker, app.RuntimeID); err != nil {
		t.Fatal(err)
	}
	startedOnce(ctx, t, s, run)
	info, err := s.Lab.Docker.ContainerInspect(ctx, app.RuntimeID)
	if err != nil {
		t.Fatal(err)
	}
	namespace := info.NetworkSettings.SandboxKey
	if !lab.HoldsNamespace(namespace) {
		t.Errorf("the network namespace %q of a container that runs is none", namespace)
	}
	ended := await(ctx, t, s, once, "STOPPED")
	if code := exitOf(ended.Container("once")); code != "7" {
		t.Errorf("exit code of the job %s, want 7", code)
	}
	if err := s.ECS.Stop(ctx, run, "enough"); err != nil {
		t.Fatal(err)
	}
	ended = await(ctx, t, s, run, "STOPPED")
	if app, init := exitOf(ended.Container("app")), exitOf(ended.Container("init")); app != "5" || init != "0" {
		t.Errorf("exit codes of the service: app %s, init %s, want 5 and 0; %+v", app, init, ended)
	}
	cleanedUp(ctx, t, s)
	over(ctx, t, s, family)
	if lab.HoldsNamespace(namespace) {
		t.Errorf("network namespace %s is left", namespace)
	}
}

// startedOnce waits for the exec agent of the container app, and checks that it was started
// once: each one writes down that it runs.
func startedOnce(ctx context.Context, t *testing.T, s *lab.Site, arn string) {
	t.Helper()
	_, err := s.ECS.Await(ctx, arn, "its exec agent to run", func(task harness.Task) bool {
		return task.Container("app").ExecAgent() == "RUNNING: ExecuteCommandAgent started"
	})
	if err != nil {
		t.Fatal(err)
	}
	// It is told of as running before its script has begun.
	var runs []byte
	file := filepath.Join(s.Dir, "log", "tasks", "exec", arn[strings.LastIndexByte(arn, '/')+1:], "app", "runs")
	err = harness.Poll(ctx, "the exec agent to write down that it runs", func(context.Context) (bool, error) {
		var err error
		runs, err = os.ReadFile(file)
		return err == nil && strings.Contains(string(runs), "\n"), err
	})
	if err != nil || strings.Count(string(runs), "\n") != 1 {
		t.Errorf("the exec agent has run as %q, want one process: %v", runs, err)
	}
}

// TestKilledWhileTheExecAgentStarts: the agent that comes then looks for what runs already,
// and is killed at that.
func TestKilledWhileTheExecAgentStarts(t *testing.T) {
	t.Parallel()
	for _, second := range []string{"docker.list-processes.before", "docker.list-processes.after"} {
		t.Run(second, func(t *testing.T) {
			t.Parallel()
			ctx, s := site(t)
			if err := s.Keep("ECS_FAILPOINTS=docker.start-exec-command.after=kill@1"); err != nil {
				t.Fatal(err)
			}
			if err := s.AwaitConnected(ctx); err != nil {
				t.Fatal(err)
			}
			s.NextStart("ECS_FAILPOINTS=" + second + "=kill@1")
			family := lab.Name("m")
			s.ECS.ExecuteCommand = true
			arn := launch(ctx, t, s, M{"family": family, "networkMode": "bridge", "containerDefinitions": []M{
				sh(s, "app", "trap 'exit 5' TERM; sleep 3600 & while :; do wait; done", nil),
			}})
			startedOnce(ctx, t, s, arn)
			if s.Deaths() != 2 {
				t.Errorf("the agent was killed %d times, want twice", s.Deaths())
			}
			if err := s.ECS.Stop(ctx, arn, "enough"); err != nil {
				t.Fatal(err)
			}
			await(ctx, t, s, arn, "STOPPED")
			cleanedUp(ctx, t, s)
			over(ctx, t, s, family)
		})
	}
}

// TestEveryFailpointIsPassed: the table of names is what the code has.
func TestEveryFailpointIsPassed(t *testing.T) {
	t.Parallel()
	ctx, s := site(t)
	if err := s.Keep(); err != nil {
		t.Fatal(err)
	}
	scenario(ctx, t, s)
	passed, err := s.Passed()
	if err != nil {
		t.Fatal(err)
	}
	all := failpoint.All()
	for _, name := range all {
		if passed[name] == 0 && skipped[name] == "" {
			t.Errorf("%s is never passed", name)
		}
	}
	for name, n := range passed {
		if !slices.Contains(all, name) {
			t.Errorf("%s is passed %d times and not in the table", name, n)
		}
	}
	t.Log(passed)
}

// TestKilledWhileDockerWorks: the agent is killed when the engine has the call and has
// not answered. Docker goes on with it alone.
func TestKilledWhileDockerWorks(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"POST /containers/create", "POST /containers/{id}/start", "POST /containers/{id}/stop", "DELETE /containers/{id}", "POST /volumes/create"} {
		for _, late := range []bool{false, true} {
			name := call
			if late {
				name += ", done after the restart"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ctx, s := site(t)
				reached, hold := make(chan struct{}), make(chan struct{})
				var once sync.Once
				s.Engine.SetIntercept(func(c proxy.Call, _ http.ResponseWriter, r *http.Request) bool {
					if c.String() != call {
						return false
					}
					once.Do(func() {
						// The engine gets the call whatever becomes of the caller.
						*r = *proxy.Detach(r)
						close(reached)
						<-hold
					})
					return false
				})
				if err := s.Keep(); err != nil {
					t.Fatal(err)
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					select {
					case <-reached:
					case <-ctx.Done():
						return
					}
					s.Kill()
					if late { // the new agent looks at Docker before the call is through
						_ = s.AwaitRestart(ctx)
						_ = s.AwaitConnected(ctx)
					}
					close(hold)
				}()
				scenario(ctx, t, s)
				<-done
				if s.Deaths() != 1 {
					t.Errorf("the agent was killed %d times, want once", s.Deaths())
				}
			})
		}
	}
}
