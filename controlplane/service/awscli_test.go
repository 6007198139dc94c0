package service

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ecsagent/controlplane/api"
)

// cli runs the AWS CLI against the world.
func cli(t *testing.T, w *world, program string, args ...string) (map[string]any, string) {
	t.Helper()
	cmd := exec.Command(program, append([]string{"ecs", "--endpoint-url", w.http.URL, "--region", "us-east-1", "--output", "json", "--no-cli-pager"}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=thing", "AWS_EC2_METADATA_DISABLED=true"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, stderr.String()
	}
	out := map[string]any{}
	if stdout.Len() > 0 {
		if err := json.Unmarshal(stdout.Bytes(), &out); err != nil {
			t.Fatalf("aws ecs %s: %v: %s", strings.Join(args, " "), err, stdout.String())
		}
	}
	return out, ""
}

// awsCLI finds version 2 of the AWS CLI.
func awsCLI(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/usr/bin/aws", "/usr/local/bin/aws"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Skip("the AWS CLI is not installed")
	return ""
}

// TestAWSCLI takes a task through its life with the real AWS CLI. Each call takes
// about a second, so the other operations are tested without it.
func TestAWSCLI(t *testing.T) {
	aws := awsCLI(t)
	w := newWorld(t, "")
	run := func(args ...string) map[string]any {
		t.Helper()
		out, failed := cli(t, w, aws, args...)
		if failed != "" {
			t.Fatalf("aws ecs %s: %s", strings.Join(args, " "), failed)
		}
		return out
	}
	run("create-cluster", "--cluster-name", "default", "--tags", "key=team,value=blue")
	w.host(2048, 4096)
	file := filepath.Join(t.TempDir(), "web.json")
	definition := `{"family":"web","containerDefinitions":[{"name":"app","image":"nginx:1.27","memory":128,
		"portMappings":[{"containerPort":80}],"environment":[{"name":"A","value":"1"}]}]}`
	if err := os.WriteFile(file, []byte(definition), 0o600); err != nil {
		t.Fatal(err)
	}
	run("register-task-definition", "--cli-input-json", "file://"+file)
	out := run("run-task", "--task-definition", "web", "--count", "2", "--started-by", "me",
		"--overrides", `{"containerOverrides":[{"name":"app","command":["sleep","1"]}]}`)
	tasks := out["tasks"].([]any)
	if len(tasks) != 2 {
		t.Fatalf("run-task: %v", out)
	}
	arn := tasks[0].(map[string]any)["taskArn"].(string)
	w.ack()
	w.submit(arn, api.StatusRunning, m{"containerName": "app", "status": "RUNNING", "runtimeId": "abc",
		"networkBindings": []m{{"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768, "protocol": "tcp"}}})
	described := run("describe-tasks", "--tasks", arn)["tasks"].([]any)[0].(map[string]any)
	if described["lastStatus"] != "RUNNING" || !strings.HasPrefix(described["startedAt"].(string), "2026-03-01T") {
		t.Errorf("describe-tasks: %v", described)
	}
	// The CLI follows the tokens of pages by itself.
	if list := run("list-tasks", "--page-size", "1")["taskArns"].([]any); len(list) != 2 {
		t.Errorf("list-tasks: %v", list)
	}
	stopped := run("stop-task", "--task", arn, "--reason", "enough")["task"].(map[string]any)
	if stopped["desiredStatus"] != "STOPPED" || stopped["stoppedReason"] != "enough" {
		t.Errorf("stop-task: %v", stopped)
	}
	const want = "An error occurred (ClientException) when calling the DescribeTaskDefinition operation: Unable to describe task definition."
	if _, failed := cli(t, w, aws, "describe-task-definition", "--task-definition", "none"); !strings.Contains(failed, want) {
		t.Errorf("%q lacks %q", failed, want)
	}
}
