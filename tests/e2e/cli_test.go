package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ecsagent/tests/harness"
)

// aws runs the AWS CLI against the local ECS and returns what it printed.
func (e *env) aws(args ...string) []byte {
	e.t.Helper()
	program := "/usr/bin/aws"
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath("aws"); err != nil {
			e.t.Skip("no AWS CLI here; scripts/deps test installs it")
		}
	}
	cmd := exec.CommandContext(e.ctx, program, append([]string{"ecs", "--endpoint-url", "http://" + e.LocalAddress, "--output", "json"}, args...)...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + e.Dir, "AWS_DEFAULT_REGION=" + harness.Region,
		"AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=secret", "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true",
	}
	out, err := cmd.Output()
	if err != nil {
		text := ""
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			text = string(exit.Stderr)
		}
		e.t.Fatalf("aws ecs %v: %v\n%s", args, err, text)
	}
	return out
}

func decode[T any](t *testing.T, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return v
}

func TestAWSCommandLine(t *testing.T) {
	e := start(t)
	file := filepath.Join(e.Dir, "definition.json")
	def := bridged(sleeper("app", M{"portMappings": []M{{"containerPort": 80, "hostPort": 0}}}))
	if err := os.WriteFile(file, []byte(pretty(def)), 0o600); err != nil {
		t.Fatal(err)
	}
	e.aws("register-task-definition", "--cli-input-json", "file://"+file)

	ran := decode[struct{ Tasks []struct{ TaskArn string } }](t, e.aws("run-task", "--cluster", e.Cluster, "--task-definition", def["family"].(string)))
	if len(ran.Tasks) != 1 {
		t.Fatalf("ran %+v", ran)
	}
	arn := ran.Tasks[0].TaskArn
	e.awaits(arn, "RUNNING")
	type described struct {
		Tasks []struct {
			LastStatus, StopCode, StoppedReason string
			Containers                          []struct {
				RuntimeId       string
				LastStatus      string
				ExitCode        *int
				NetworkBindings []struct{ HostPort int }
			}
		}
	}
	d := decode[described](t, e.aws("describe-tasks", "--cluster", e.Cluster, "--tasks", arn))
	if len(d.Tasks) != 1 || d.Tasks[0].LastStatus != "RUNNING" || len(d.Tasks[0].Containers) != 1 {
		t.Fatalf("described %+v", d)
	}
	app := d.Tasks[0].Containers[0]
	info, err := shared.docker.ContainerInspect(e.ctx, app.RuntimeId)
	if err != nil || !info.State.Running {
		t.Fatalf("the container of the task does not run: %v", err)
	}
	if len(app.NetworkBindings) == 0 || app.NetworkBindings[0].HostPort == 0 {
		t.Errorf("no host port: %+v", app)
	}
	listed := decode[struct{ TaskArns []string }](t, e.aws("list-tasks", "--cluster", e.Cluster))
	if len(listed.TaskArns) != 1 || listed.TaskArns[0] != arn {
		t.Errorf("listed %v", listed)
	}
	e.aws("stop-task", "--cluster", e.Cluster, "--task", arn, "--reason", "by hand")
	e.aws("wait", "tasks-stopped", "--cluster", e.Cluster, "--tasks", arn)
	d = decode[described](t, e.aws("describe-tasks", "--cluster", e.Cluster, "--tasks", arn))
	equal(t, "status", d.Tasks[0].LastStatus, "STOPPED")
	equal(t, "stopped reason", d.Tasks[0].StoppedReason, "by hand")
	e.eventually(10*time.Second, "the container to end", func() (bool, error) {
		info, err := shared.docker.ContainerInspect(e.ctx, app.RuntimeId)
		return err == nil && !info.State.Running, err
	})
}
