package e2e

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/tests/harness"
)

func TestTaskRunsAndStops(t *testing.T) {
	e := start(t)
	// An image that no other test pulls.
	ref, digest, err := push(e.ctx, "own-"+strings.ToLower(e.Cluster)+":1", v1.Config{Cmd: []string{"sleep", "3600"}, Labels: map[string]string{"of": e.Cluster}})
	if err != nil {
		t.Fatal(err)
	}
	task := e.running(definition(sleeper("app", M{"image": ref})))
	app := task.Container("app")
	equal(t, "container status", app.LastStatus, "RUNNING")
	equal(t, "image digest", app.ImageDigest, digest)
	if task.PullStartedAt.IsZero() || task.PullStoppedAt.Before(task.PullStartedAt.Time) || task.StartedAt.Before(task.CreatedAt.Time) {
		t.Errorf("times are wrong:\n%s", pretty(task))
	}
	info := e.inspect(task, "app")
	equal(t, "label task-arn", info.Config.Labels[harness.LabelTaskARN], task.TaskARN)
	equal(t, "label container-name", info.Config.Labels[harness.LabelContainer], "app")

	if err := e.ECS.Stop(e.ctx, task.TaskARN, "seen enough"); err != nil {
		t.Fatal(err)
	}
	task = e.stopped(task.TaskARN)
	equal(t, "stop code", task.StopCode, "UserInitiated")
	equal(t, "stopped reason", task.StoppedReason, "seen enough")
	equal(t, "exit code", exitCode(task.Container("app")), "0")
	if task.ExecutionStoppedAt.IsZero() || task.StoppedAt.Before(task.StoppingAt.Time) {
		t.Errorf("times are wrong:\n%s", pretty(task))
	}
	if got, want := e.reports(task.TaskARN), []string{"PENDING", "RUNNING", "STOPPED"}; !reflect.DeepEqual(got, want) {
		t.Errorf("reported %v, want %v", got, want)
	}
}

func TestReferenceByDigestIsUsedUnchanged(t *testing.T) {
	e := start(t)
	repository, _, _ := strings.Cut(shared.tools, ":1")
	ref := repository + "@" + shared.digest
	task := e.running(definition(sleeper("app", M{"image": ref})))
	equal(t, "image of the container", e.inspect(task, "app").Config.Image, ref)
	e.stop(task.TaskARN)
	if got, want := e.reports(task.TaskARN), []string{"RUNNING", "STOPPED"}; !reflect.DeepEqual(got, want) {
		t.Errorf("reported %v, want %v: a digest in the reference needs no PENDING", got, want)
	}
}

func TestEssentialExitStopsTheTask(t *testing.T) {
	e := start(t)
	task := e.stopped(e.launch(definition(sh("main", "sleep 0.5; exit 3"), sleeper("helper", M{"essential": false}))))
	equal(t, "exit code of main", exitCode(task.Container("main")), "3")
	equal(t, "reason of main", task.Container("main").Reason, "")
	equal(t, "status of helper", task.Container("helper").LastStatus, "STOPPED")
	equal(t, "stop code", task.StopCode, "EssentialContainerExited")
	equal(t, "stopped reason", task.StoppedReason, "Essential container in task exited")
}

func TestNonEssentialExitLeavesTheTask(t *testing.T) {
	e := start(t)
	task := e.running(definition(sleeper("main"), sh("helper", "sleep 0.5; exit 4", M{"essential": false})))
	// ECS hears of it with the next flush, ten to thirty seconds later.
	task, err := e.ECS.Await(e.ctx, task.TaskARN, "the helper's end", func(t harness.Task) bool {
		return t.Container("helper").LastStatus == "STOPPED"
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "exit code of helper", exitCode(task.Container("helper")), "4")
	equal(t, "task status", task.LastStatus, "RUNNING")
	e.stop(task.TaskARN)
}

func TestStopTimeoutKills(t *testing.T) {
	e := start(t)
	task := e.running(definition(sh("deaf", "trap '' TERM; sleep 3600 & while :; do wait; done", M{"stopTimeout": 2})))
	begin := time.Now()
	task = e.stop(task.TaskARN)
	if d := time.Since(begin); d < 2*time.Second {
		t.Errorf("killed after %v, want at least 2 s", d)
	}
	equal(t, "exit code", exitCode(task.Container("deaf")), "137")
}

func TestContainerThatExitsAtOnce(t *testing.T) {
	e := start(t)
	for _, code := range []int{0, 7} {
		task := e.stopped(e.launch(definition(sh("quick", fmt.Sprintf("exit %d", code)))))
		equal(t, "exit code", exitCode(task.Container("quick")), fmt.Sprint(code))
		equal(t, "reason", task.Container("quick").Reason, "")
	}
	e.alive()
}

func TestNoSuchCommand(t *testing.T) {
	e := start(t)
	task := e.stopped(e.launch(definition(sh("bad", "", M{"command": []string{"/no/such/program"}}))))
	c := task.Container("bad")
	contains(t, "reason", c.Reason, "CannotStartContainerError: Error response from daemon: ", "/no/such/program")
	if c.RuntimeID == "" {
		t.Error("the container was created but has no runtime id")
	}
	equal(t, "exit code", exitCode(c), "none")
	equal(t, "stop code", task.StopCode, "TaskFailedToStart")
	e.alive()
}

func TestManyTasksAtOnce(t *testing.T) {
	e := start(t)
	arn, err := e.ECS.Register(e.ctx, definition(sleeper("app", M{"memory": 8, "cpu": 1})))
	if err != nil {
		t.Fatal(err)
	}
	tasks, failures, err := e.ECS.Run(e.ctx, arn, 10)
	if err != nil || len(tasks) != 10 {
		t.Fatalf("ran %d tasks: %v, %v", len(tasks), failures, err)
	}
	for _, task := range tasks {
		e.awaits(task.TaskARN, "RUNNING")
	}
	for _, task := range tasks {
		if err := e.ECS.Stop(e.ctx, task.TaskARN, "done"); err != nil {
			t.Fatal(err)
		}
	}
	for _, task := range tasks {
		equal(t, "exit code", exitCode(e.stopped(task.TaskARN).Container("app")), "0")
	}
}

func TestOutOfMemoryIsNamed(t *testing.T) {
	e := start(t)
	task := e.stopped(e.launch(definition(sh("hungry", "head -c 200m /dev/zero | tail", M{"memory": 8}))))
	c := task.Container("hungry")
	contains(t, "reason", c.Reason, "OutOfMemoryError: Container killed due to memory usage")
	equal(t, "exit code", exitCode(c), "137")
}
