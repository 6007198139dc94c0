package e2e

import (
	"net/http"
	"os"
	"testing"

	"github.com/docker/docker/api/types/container"

	"ecsagent/tests/proxy"
)

// down ends the agent in one of two ways.
var down = map[string]func(t *testing.T, e *env){
	"SIGTERM": func(t *testing.T, e *env) {
		if _, err := e.Agent.Stop(patience); err != nil {
			t.Fatal(err)
		}
		equal(t, "exit code", e.Agent.ExitCode(), 0)
	},
	"kill -9": func(_ *testing.T, e *env) { e.Agent.Kill() },
}

// restart starts the agent again and waits until it is connected.
func (e *env) restart() {
	e.t.Helper()
	e.eventually(patience, "the control plane to notice that the agent is gone", func() (bool, error) {
		all, err := e.ECS.Instances(e.ctx)
		return err == nil && len(all) == 1 && !all[0].AgentConnected, err
	})
	if err := e.StartAgent(); err != nil {
		e.t.Fatal(err)
	}
	e.instance()
}

func TestAgentRestartAdoptsContainers(t *testing.T) {
	for name, end := range down {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			instance := e.instance()
			task := e.running(definition(sleeper("app"), sleeper("helper", M{"essential": false})))
			before := e.inspect(task, "app")
			end(t, e)
			during := e.inspect(task, "app")
			if !during.State.Running {
				t.Fatal("the container ended with the agent")
			}
			e.restart()
			equal(t, "container instance", e.instance().ARN, instance.ARN)
			after := e.inspect(task, "app")
			equal(t, "start of the container", after.State.StartedAt, before.State.StartedAt)
			list, err := e.Containers(e.ctx, shared.docker)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "containers", len(list), 2)
			task = e.stop(task.TaskARN)
			equal(t, "exit code", exitCode(task.Container("app")), "0")
			e.alive()
		})
	}
}

func TestContainerThatEndsWhileTheAgentIsDown(t *testing.T) {
	e := start(t)
	task := e.running(definition(sh("app", "trap 'exit 9' TERM; sleep 3600 & while :; do wait; done")))
	e.Agent.Kill()
	if err := shared.docker.ContainerStop(e.ctx, task.Container("app").RuntimeID, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	e.restart()
	equal(t, "exit code", exitCode(e.stopped(task.TaskARN).Container("app")), "9")
}

func TestContainerRemovedWhileTheAgentIsDown(t *testing.T) {
	e := start(t)
	task := e.running(definition(sleeper("app")))
	e.Agent.Kill()
	if err := shared.docker.ContainerRemove(e.ctx, task.Container("app").RuntimeID, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	// A new agent listens to the events of the last second, and may hear of the end.
	f := e.engine.Disturb("GET /events", 0, proxy.Hang())
	e.restart()
	task = e.stopped(task.TaskARN)
	f.Lift()
	equal(t, "reason", task.Container("app").Reason, "ContainerVanishedError: No container matching saved ID found")
	equal(t, "exit code", exitCode(task.Container("app")), "none")
}

func TestTaskStoppedWhileTheAgentIsDown(t *testing.T) {
	e := start(t)
	task := e.running(definition(sleeper("app")))
	e.Agent.Kill()
	if err := e.ECS.Stop(e.ctx, task.TaskARN, "meanwhile"); err != nil {
		t.Fatal(err)
	}
	e.restart()
	task = e.stopped(task.TaskARN)
	equal(t, "exit code", exitCode(task.Container("app")), "0")
}

// A kill -9 while a container is created must neither lose it nor make a second one.
func TestAgentKilledDuringCreate(t *testing.T) {
	e := start(t)
	created := make(chan struct{})
	hold := make(chan struct{})
	var once = make(chan struct{}, 1)
	once <- struct{}{}
	e.engine.SetIntercept(func(c proxy.Call, _ http.ResponseWriter, _ *http.Request) bool {
		if c.String() != "POST /containers/create" {
			return false
		}
		select {
		case <-once:
			close(created)
			<-hold
		default:
		}
		return false
	})
	arn := e.launch(definition(sleeper("app")))
	select {
	case <-created:
	case <-e.ctx.Done():
		t.Fatal("no container was created")
	}
	e.Agent.Kill()
	close(hold)
	e.engine.SetIntercept(nil)
	e.restart()
	task := e.awaits(arn, "RUNNING")
	list, err := e.Containers(e.ctx, shared.docker)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "containers", len(list), 1)
	e.stop(task.TaskARN)
}

func TestStateIsKeptInTheDataFolder(t *testing.T) {
	e := start(t)
	files, err := os.ReadDir(e.Dir + "/data")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Error("the data folder is empty")
	}
}
