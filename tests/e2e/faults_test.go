package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"ecsagent/tests/proxy"
)

func TestConnectionIsCut(t *testing.T) {
	e := start(t)
	task := e.running(definition(sleeper("app")))
	if e.link.Cut() == 0 {
		t.Fatal("there was no connection")
	}
	// What happens meanwhile is heard of afterwards.
	e.link.Refuse(true)
	if err := shared.docker.ContainerKill(e.ctx, task.Container("app").RuntimeID, "KILL"); err != nil {
		t.Fatal(err)
	}
	e.link.Refuse(false)
	task = e.stopped(task.TaskARN)
	equal(t, "exit code", exitCode(task.Container("app")), "137")
	e.instance()
	e.alive()
}

func TestConnectionIsCutWhileATaskStarts(t *testing.T) {
	e := start(t)
	arn, err := e.ECS.Register(e.ctx, definition(sleeper("app", M{"memory": 8, "cpu": 1})))
	if err != nil {
		t.Fatal(err)
	}
	tasks, _, err := e.ECS.Run(e.ctx, arn, 5)
	if err != nil {
		t.Fatal(err)
	}
	e.link.Cut()
	for _, task := range tasks {
		e.awaits(task.TaskARN, "RUNNING")
	}
	list, err := e.Containers(e.ctx, shared.docker)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "containers", len(list), len(tasks))
}

// A socket that goes silent is noticed after 60 to 120 seconds (docs/spec/01 section 3.2).
func TestConnectionGoesSilent(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	e := start(t)
	task := e.running(definition(sleeper("app")))
	if e.plane.Sockets("") == 0 {
		t.Fatal("there is no websocket")
	}
	e.link.Mute()
	if err := e.ECS.Stop(e.ctx, task.TaskARN, "across the silence"); err != nil {
		t.Fatal(err)
	}
	equal(t, "exit code", exitCode(e.stopped(task.TaskARN).Container("app")), "0")
}

func TestControlPlaneIsKilledAndRestarted(t *testing.T) {
	e := start(t)
	instance := e.instance()
	stays, goes := e.running(definition(sleeper("app"))), e.running(definition(sleeper("app")))
	e.Local.Kill()
	if err := shared.docker.ContainerKill(e.ctx, goes.Container("app").RuntimeID, "KILL"); err != nil {
		t.Fatal(err)
	}
	if err := e.StartLocal(e.ctx); err != nil {
		t.Fatal(err)
	}
	equal(t, "container instance", e.instance().ARN, instance.ARN)
	equal(t, "exit code of the one that ended meanwhile", exitCode(e.stopped(goes.TaskARN).Container("app")), "137")
	now, err := e.ECS.Describe(e.ctx, stays.TaskARN)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status of the other", now.LastStatus, "RUNNING")
	equal(t, "its container", now.Container("app").RuntimeID, stays.Container("app").RuntimeID)
	e.stop(stays.TaskARN)
	e.alive()
}

func TestSubmissionsAreRetriedInOrder(t *testing.T) {
	e := start(t)
	failures := make(chan struct{}, 3)
	for range cap(failures) {
		failures <- struct{}{}
	}
	e.plane.SetAnswer(func(operation string, _ []byte) (int, string) {
		if operation != "SubmitTaskStateChange" {
			return 0, ""
		}
		select {
		case <-failures:
			return 500, `{"__type":"ServerException","message":"not now"}`
		default:
			return 0, ""
		}
	})
	task := e.stopped(e.launch(definition(sh("app", "exit 6"))))
	equal(t, "exit code", exitCode(task.Container("app")), "6")
}

func TestRestartFromOutsideIsUndone(t *testing.T) {
	e := start(t)
	// The second stop may come before the restarted shell heeds SIGTERM.
	task := e.running(definition(sleeper("app", M{"stopTimeout": 2})))
	id := task.Container("app").RuntimeID
	if err := shared.docker.ContainerRestart(e.ctx, id, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	e.stopped(task.TaskARN)
	e.eventually(20*time.Second, "the restarted container to be stopped again", func() (bool, error) {
		info, err := shared.docker.ContainerInspect(e.ctx, id)
		return err == nil && !info.State.Running, err
	})
}

func TestRemovalFromOutsideStopsTheTask(t *testing.T) {
	e := start(t)
	task := e.running(definition(sleeper("app")))
	if err := shared.docker.ContainerRemove(e.ctx, task.Container("app").RuntimeID, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	task = e.stopped(task.TaskARN)
	equal(t, "exit code", exitCode(task.Container("app")), "137")
}

func TestEngineRefusesToCreate(t *testing.T) {
	e := start(t)
	e.engine.SetIntercept(func(c proxy.Call, w http.ResponseWriter, _ *http.Request) bool {
		if c.String() != "POST /containers/create" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte(`{"message":"no room"}`))
		return true
	})
	task := e.stopped(e.launch(definition(sleeper("app"))))
	equal(t, "reason", task.Container("app").Reason, "CannotCreateContainerError: Error response from daemon: no room")
	equal(t, "runtime id", task.Container("app").RuntimeID, "")
	e.engine.SetIntercept(nil)
	e.alive()
}

// Another engine comes in the place of the one the instance registered with: it is
// registered anew with what this one can do, and its task goes on.
func TestAnotherEngine(t *testing.T) {
	e := start(t)
	task := e.running(definition(sleeper("app")))
	knows := func(version string) func() (bool, error) {
		return func() (bool, error) {
			return e.hasAttribute("com.amazonaws.ecs.capability.docker-remote-api." + version), nil
		}
	}
	if has, _ := knows("1.32")(); !has {
		t.Fatal("the instance does not say that it knows the API 1.32")
	}
	e.engine.SetIntercept(func(c proxy.Call, w http.ResponseWriter, _ *http.Request) bool {
		switch c.String() {
		case "GET /version":
			_, _ = w.Write([]byte(`{"Version":"17.06.2","ApiVersion":"1.29","MinAPIVersion":"1.24","Os":"linux"}`))
		case "GET /plugins":
			_, _ = w.Write([]byte(`[{"Name":"rexray/ebs:latest","Enabled":true}]`))
		default:
			return false
		}
		return true
	})
	e.engine.CloseStreams()
	e.eventually(patience, "the older engine's attributes", func() (bool, error) {
		has, err := knows("1.32")()
		return !has, err
	})
	for _, name := range []string{"com.amazonaws.ecs.capability.docker-remote-api.1.29", "ecs.capability.docker-plugin.rexray/ebs.latest"} {
		if !e.hasAttribute(name) {
			t.Errorf("attribute %s is missing", name)
		}
	}
	e.stop(task.TaskARN)
	e.alive()
	e.engine.SetIntercept(nil)
	e.engine.CloseStreams()
	e.eventually(patience, "the newer engine's attributes", knows("1.32"))
	e.alive()
}

func TestEventStreamIsLost(t *testing.T) {
	e := start(t)
	task := e.running(definition(sleeper("app")))
	if e.engine.CloseStreams() == 0 {
		t.Error("the agent follows no event stream")
	}
	if err := shared.docker.ContainerKill(e.ctx, task.Container("app").RuntimeID, "KILL"); err != nil {
		t.Fatal(err)
	}
	equal(t, "exit code", exitCode(e.stopped(task.TaskARN).Container("app")), "137")
	e.alive()
}
