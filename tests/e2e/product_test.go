package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"ecsagent/tests/proxy"
)

// ECS moves a task through all of these; some of them pass in an instant.
func TestStatusesInOrder(t *testing.T) {
	e := start(t)
	events, err := e.ECS.Watch(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	task := e.running(bridged(sleeper("app")))
	e.stop(task.TaskARN)
	var seen []string
	for len(seen) == 0 || seen[len(seen)-1] != "STOPPED" {
		ev, err := events.Next()
		if err != nil {
			t.Fatalf("%v; seen %v", err, seen)
		}
		if ev.Task != nil && ev.Task.TaskARN == task.TaskARN && (len(seen) == 0 || seen[len(seen)-1] != ev.Task.LastStatus) {
			seen = append(seen, ev.Task.LastStatus)
		}
	}
	want := []string{"PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"}
	at := -1
	for _, s := range seen {
		next := slices.Index(want, s)
		if next <= at {
			t.Fatalf("statuses %v are not in the order %v", seen, want)
		}
		at = next
	}
	for _, s := range []string{"PENDING", "RUNNING", "STOPPED"} {
		if !slices.Contains(seen, s) {
			t.Errorf("%s is not among the statuses %v", s, seen)
		}
	}
}

func TestIntrospection(t *testing.T) {
	e := start(t)
	task := e.running(bridged(sleeper("app", M{"portMappings": []M{{"containerPort": 80, "hostPort": 0}}})))
	status, body, err := e.Introspect(e.ctx, "/v1/metadata")
	if err != nil || status != http.StatusOK {
		t.Fatalf("/v1/metadata: %d, %v", status, err)
	}
	meta := decode[struct{ Cluster, ContainerInstanceArn, Version string }](t, body)
	equal(t, "cluster", meta.Cluster, e.Cluster)
	equal(t, "container instance", meta.ContainerInstanceArn, e.instance().ARN)
	_, body, err = e.Introspect(e.ctx, "/v1/tasks")
	if err != nil {
		t.Fatal(err)
	}
	tasks := decode[struct {
		Tasks []struct {
			Arn, KnownStatus string
			Containers       []struct{ DockerId, Name string }
		}
	}](t, body)
	if len(tasks.Tasks) != 1 || tasks.Tasks[0].Arn != task.TaskARN || tasks.Tasks[0].KnownStatus != "RUNNING" {
		t.Fatalf("tasks %s", body)
	}
	equal(t, "container", tasks.Tasks[0].Containers[0].DockerId, task.Container("app").RuntimeID)
	status, body, err = e.Introspect(e.ctx, "/license")
	if err != nil || status != http.StatusOK || !strings.Contains(string(body), "Apache License") {
		t.Errorf("/license: %d, %v, %.40q", status, err, body)
	}
	e.stop(task.TaskARN)
}

// local runs ecs-local's own command line.
func (e *env) local(args ...string) (string, error) {
	e.t.Helper()
	cmd := exec.CommandContext(e.ctx, filepath.Join(shared.programs, "ecs-local"), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.Dir, "ECS_LOCAL_ENDPOINT=http://" + e.LocalAddress, "DOCKER_HOST=" + shared.host}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestLocalCommandLine(t *testing.T) {
	e := start(t)
	must := func(args ...string) string {
		t.Helper()
		out, err := e.local(args...)
		if err != nil {
			t.Fatalf("ecs-local %v: %v\n%s", args, err, out)
		}
		return out
	}
	file := filepath.Join(e.Dir, "def.json")
	write := func(script string) {
		t.Helper()
		text := "// A task definition with comments.\n" + strings.Replace(pretty(bridged(sh("app", script))), "\n}", ", // and a comma too many\n}", 1)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("echo hello from the task; trap 'exit 0' TERM; sleep 3600 & while :; do wait; done")
	must("run", file, "--cluster", e.Cluster)
	var listed struct {
		Tasks []struct{ TaskArn, LastStatus string }
	}
	if err := json.Unmarshal([]byte(must("ps", "--cluster", e.Cluster, "--output", "json")), &listed); err != nil || len(listed.Tasks) != 1 {
		t.Fatalf("listed %+v, %v", listed, err)
	}
	equal(t, "status", listed.Tasks[0].LastStatus, "RUNNING")
	id := listed.Tasks[0].TaskArn[strings.LastIndexByte(listed.Tasks[0].TaskArn, '/')+1:]
	contains(t, "table", must("ps", "--cluster", e.Cluster), id[:8], "RUNNING")
	contains(t, "logs", must("logs", id, "--cluster", e.Cluster), "hello from the task")
	must("stop", id, "--cluster", e.Cluster)
	e.stopped(listed.Tasks[0].TaskArn)
	write("exit 3")
	out, err := e.local("run", file, "--cluster", e.Cluster, "--wait")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 {
		t.Errorf("a task that failed: %v\n%s", err, out)
	}
	must("down")
	select {
	case <-e.Local.Done():
	case <-e.ctx.Done():
		t.Error("ecs-local runs on after down")
	}
}

// The engine goes away for a while; what was asked for meanwhile happens afterwards.
func TestEngineIsAwayForAWhile(t *testing.T) {
	e := start(t)
	task := e.running(bridged(sleeper("app")))
	e.engine.SetIntercept(func(proxy.Call, http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	e.engine.CloseStreams()
	if err := e.ECS.Stop(e.ctx, task.TaskARN, "while the engine is away"); err != nil {
		t.Fatal(err)
	}
	e.engine.Reset()
	e.eventually(20*time.Second, "the agent to try", func() (bool, error) { return len(e.engine.Calls()) >= 3, nil })
	e.engine.SetIntercept(nil)
	task = e.stopped(task.TaskARN)
	info, err := shared.docker.ContainerInspect(e.ctx, task.Container("app").RuntimeID)
	if err != nil || info.State.Running {
		t.Errorf("the container runs on: %v", err)
	}
	e.alive()
}

func TestContainersAreCleanedUp(t *testing.T) {
	e := start(t, "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s")
	def := bridged(sh("app", "echo x >/v/x", M{"mountPoints": []M{{"sourceVolume": "v", "containerPath": "/v"}}}))
	def["volumes"] = []M{{"name": "v", "dockerVolumeConfiguration": M{"scope": "task", "driver": "local"}}}
	task := e.stopped(e.launch(def))
	e.eventually(30*time.Second, "the container to be removed", func() (bool, error) {
		all, err := e.Containers(e.ctx, shared.docker)
		return err == nil && len(all) == 0, err
	})
	// ECS still knows how it ended.
	now, err := e.ECS.Describe(e.ctx, task.TaskARN)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "exit code", exitCode(now.Container("app")), "0")
}

// A22: nothing is removed before ECS has accepted STOPPED.
func TestCleanUpWaitsForECS(t *testing.T) {
	e := start(t, "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s")
	task := e.running(bridged(sleeper("app")))
	refused := make(chan struct{}, 1)
	e.plane.SetAnswer(func(operation string, _ []byte) (int, string) {
		if operation != "SubmitTaskStateChange" {
			return 0, ""
		}
		select {
		case refused <- struct{}{}:
		default:
		}
		return 500, `{"__type":"ServerException","message":"not now"}`
	})
	id := task.Container("app").RuntimeID
	if err := shared.docker.ContainerKill(e.ctx, id, "KILL"); err != nil {
		t.Fatal(err)
	}
	<-refused
	killed := time.Now()
	e.eventually(patience, "the clean-up's time to pass", func() (bool, error) { return time.Since(killed) > 3*time.Second, nil })
	if _, err := shared.docker.ContainerInspect(e.ctx, id); err != nil {
		t.Fatalf("the container is gone before ECS knows: %v", err)
	}
	e.plane.SetAnswer(nil)
	e.stopped(task.TaskARN)
	e.eventually(60*time.Second, "the container to be removed", func() (bool, error) {
		all, err := shared.docker.ContainerList(e.ctx, container.ListOptions{All: true})
		for _, c := range all {
			if c.ID == id {
				return false, err
			}
		}
		return err == nil, err
	})
}
