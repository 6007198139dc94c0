package e2e

import (
	"fmt"
	"testing"
	"time"
)

func after(container, condition string) M {
	return M{"dependsOn": []M{{"containerName": container, "condition": condition}}}
}

// began is when the engine started a container, ended when it ended.
func (e *env) times(id string) (began, ended time.Time) {
	e.t.Helper()
	info, err := shared.docker.ContainerInspect(e.ctx, id)
	if err != nil {
		e.t.Fatal(err)
	}
	began, _ = time.Parse(time.RFC3339Nano, info.State.StartedAt)
	ended, _ = time.Parse(time.RFC3339Nano, info.State.FinishedAt)
	return began, ended
}

func TestDependsOnStart(t *testing.T) {
	e := start(t)
	task := e.running(definition(sleeper("b", after("a", "START")), sleeper("a")))
	a, _ := e.times(task.Container("a").RuntimeID)
	b, _ := e.times(task.Container("b").RuntimeID)
	if !b.After(a) {
		t.Errorf("b started %v before a", a.Sub(b))
	}
	// The reverse order at the end: b first.
	task = e.stop(task.TaskARN)
	_, a = e.times(task.Container("a").RuntimeID)
	_, b = e.times(task.Container("b").RuntimeID)
	if a.Before(b) {
		t.Errorf("a ended %v before b", b.Sub(a))
	}
}

func TestDependsOnCompletion(t *testing.T) {
	for condition, code := range map[string]int{"COMPLETE": 5, "SUCCESS": 0} {
		t.Run(condition, func(t *testing.T) {
			e := start(t)
			task := e.running(definition(
				sh("first", fmt.Sprintf("sleep 0.5; exit %d", code), M{"essential": false}),
				sleeper("second", after("first", condition)),
			))
			second, _ := e.times(task.Container("second").RuntimeID)
			// The first container's end need not have been reported yet.
			list, err := e.Containers(e.ctx, shared.docker)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				if c.Labels["com.amazonaws.ecs.container-name"] != "first" {
					continue
				}
				if _, ended := e.times(c.ID); !second.After(ended) {
					t.Errorf("second started %v before first ended", ended.Sub(second))
				}
			}
			task = e.stop(task.TaskARN)
			equal(t, "exit code of first", exitCode(task.Container("first")), fmt.Sprint(code))
		})
	}
}

func TestDependsOnSuccessThatFails(t *testing.T) {
	e := start(t)
	task := e.stopped(e.launch(definition(
		sh("init", "exit 1", M{"essential": false}),
		sleeper("app", after("init", "SUCCESS")),
	)))
	app := task.Container("app")
	equal(t, "exit code of app", exitCode(app), "143")
	contains(t, "reason of app", app.Reason, "CannotStartContainerError: dependency graph: failed to resolve container ordering dependency [init(",
		"for target [app(", "as dependency did not exit successfully.")
	equal(t, "runtime id of app", app.RuntimeID, "")
}

func TestDependsOnHealthy(t *testing.T) {
	e := start(t)
	task := e.running(definition(
		sh("db", "sleep 1; touch /tmp/ready; trap 'exit 0' TERM; sleep 3600 & while :; do wait; done", M{
			"healthCheck": M{"command": []string{"CMD-SHELL", "test -e /tmp/ready"}, "interval": 5, "timeout": 2, "retries": 10},
		}),
		sleeper("app", after("db", "HEALTHY")),
	))
	db, _ := e.times(task.Container("db").RuntimeID)
	app, _ := e.times(task.Container("app").RuntimeID)
	if app.Sub(db) < time.Second {
		t.Errorf("app started %v after db, which was not healthy then", app.Sub(db))
	}
	e.stop(task.TaskARN)
}

func TestDependsOnHealthyTimesOut(t *testing.T) {
	e := start(t)
	begin := time.Now()
	task := e.stopped(e.launch(definition(
		sleeper("db", M{
			"startTimeout": 3,
			"healthCheck":  M{"command": []string{"CMD-SHELL", "false"}, "interval": 5, "timeout": 2, "retries": 10},
		}),
		sleeper("app", after("db", "HEALTHY")),
	)))
	if d := time.Since(begin); d < 3*time.Second {
		t.Errorf("given up after %v, want at least 3 s", d)
	}
	contains(t, "reason of app", task.Container("app").Reason, "CannotStartContainerError: dependency graph: container ordering dependency [db(", "has timed out.")
	equal(t, "exit code of app", exitCode(task.Container("app")), "143")
}

func TestDependencyThatCannotStart(t *testing.T) {
	e := start(t)
	task := e.stopped(e.launch(definition(
		sh("cfg", "", M{"command": []string{"/no/such"}, "essential": false}),
		sleeper("app", after("cfg", "COMPLETE")),
	)))
	contains(t, "reason of cfg", task.Container("cfg").Reason, "CannotStartContainerError: ")
	contains(t, "reason of app", task.Container("app").Reason, "CannotStartContainerError: dependency graph: ", "[cfg(")
}
