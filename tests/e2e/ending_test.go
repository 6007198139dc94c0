package e2e

import (
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ecsagent/tests/harness"
)

// TestStopTasks: what a systemd unit runs when the host shuts down.
func TestStopTasks(t *testing.T) {
	e := start(t)
	task := e.running(definition(
		sh("db", "trap 'exit 3' TERM; while :; do sleep 0.05; done"),
		sh("app", "trap 'exit 4' TERM; while :; do sleep 0.05; done", M{"dependsOn": []M{{"containerName": "db", "condition": "START"}}}),
	))
	stop := exec.CommandContext(e.ctx, filepath.Join(shared.programs, "ecs-agent"), "stop-tasks", "--within", "60s")
	stop.Env = e.AgentEnvironment()
	if out, err := stop.CombinedOutput(); err != nil {
		t.Fatalf("stop-tasks: %v\n%s", err, out)
	}
	// Reported by the time the command ended.
	now, err := e.ECS.Describe(e.ctx, task.TaskARN)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", now.LastStatus, "STOPPED")
	contains(t, "reason", now.StoppedReason, "Host is shutting down")
	equal(t, "exit code of db", exitCode(now.Container("db")), "3")
	equal(t, "exit code of app", exitCode(now.Container("app")), "4")
	app, db := e.inspect(now, "app"), e.inspect(now, "db")
	if app.State.FinishedAt > db.State.FinishedAt {
		t.Errorf("app ended at %s, after db at %s", app.State.FinishedAt, db.State.FinishedAt)
	}
	// Work that comes meanwhile waits for the next start.
	late := e.launch(definition(sleeper("late")))
	e.Agent.Kill()
	e.restart()
	e.stop(e.awaits(late, "RUNNING").TaskARN)
}

// TestSpotNotice: EC2 announces the end of the instance, and ECS places nothing on it.
func TestSpotNotice(t *testing.T) {
	e := prepared(t)
	e.LocalArgs = []string{"--imds"}
	if err := e.StartLocal(e.ctx); err != nil {
		t.Fatal(err)
	}
	e.Options.Agent = append(e.Options.Agent, "ECS_EXTERNAL=false", "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://"+e.LocalAddress, "AWS_EC2_METADATA_DISABLED=false")
	if err := e.StartAgent(); err != nil {
		t.Fatal(err)
	}
	equal(t, "status before", e.instance().Status, "ACTIVE")
	notice, err := http.NewRequestWithContext(e.ctx, http.MethodPut, "http://"+e.LocalAddress+"/_local/imds/meta-data/spot/instance-action",
		strings.NewReader(`{"action":"terminate","time":"2026-01-02T03:04:05Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	notice.Header.Set("X-Ecs-Local", "1")
	reply, err := http.DefaultClient.Do(notice)
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	equal(t, "answer", reply.StatusCode, http.StatusNoContent)
	ctx, cancel := context.WithTimeout(e.ctx, 20*time.Second)
	defer cancel()
	if err := harness.Poll(ctx, "the instance to drain", func(ctx context.Context) (bool, error) {
		all, err := e.ECS.Instances(ctx)
		return len(all) == 1 && all[0].Status == "DRAINING", err
	}); err != nil {
		t.Error(err)
	}
}
