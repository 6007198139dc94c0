package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ecsagent/agent/app"
)

const explainedTask = `{"arn":"arn:aws:ecs:eu-west-1:111122223333:task/demo/01","family":"shop","version":"3","desiredStatus":"RUNNING",
	"containers":[{"name":"a","image":"shop:3","essential":true,"links":["LINK"]},{"name":"b","image":"shop:3","cpu":1024}]}`

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("ECS_CONFIG_FILE", write("ecs.config", "ECS_CLUSTER=prod\nECS_CONTAINER_STOP_TIMEOUT=7s\nECS_IMAGE_PULL_BEHAVIOR=always\n"))
	t.Setenv("AWS_DEFAULT_REGION", "")
	good, bad := write("good.json", strings.Replace(explainedTask, "LINK", "b", 1)), write("bad.json", strings.Replace(explainedTask, "LINK", "x", 1))
	const reason = "resource cannot be initialized for task arn:aws:ecs:eu-west-1:111122223333:task/demo/01: could not find container for link x\n"
	for _, c := range []struct {
		args   string
		code   int
		stdout []string
		stderr string
	}{
		{"explain " + good, app.ExitOK, []string{`"com.amazonaws.ecs.cluster": "prod"`, "AWS_REGION=us-east-1", "SIGKILL after 7 s", "ecs-shop-3-a-<hex>", "always: "}, ""},
		{"explain -o json " + good, app.ExitOK, []string{`"name": "ecs-shop-3-a-<hex>"`, `"pull": "always"`}, ""},
		{"explain --os windows " + good, app.ExitOK, []string{`"CpuPercent": `}, ""},
		{"explain " + bad, app.ExitFailure, []string{reason}, reason},
		{"explain -o json " + bad, app.ExitFailure, []string{`"reason": "resource cannot`}, reason},
		{"explain -o yaml " + good, app.ExitFailure, nil, "ecs-agent: output format \"yaml\": want text or json\n"},
		{"explain --os plan9 " + good, app.ExitFailure, nil, "ecs-agent: operating system \"plan9\": want linux or windows\n"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(c.args), &stdout, &stderr)
		if code != c.code || stderr.String() != c.stderr {
			t.Errorf("ecs-agent %s: exit code %d (want %d)\nstderr: %q\nwant:   %q", c.args, code, c.code, &stderr, c.stderr)
		}
		for _, want := range c.stdout {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("ecs-agent %s: %q is not in\n%s", c.args, want, &stdout)
			}
		}
	}
}

func TestExplainStandardInput(t *testing.T) {
	t.Setenv("ECS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	for input, want := range map[string]string{
		strings.Replace(explainedTask, "LINK", "b", 1): "",
		"{": "read -: want a JSON object",
	} {
		var out bytes.Buffer
		cmd := newExplain()
		cmd.SetIn(strings.NewReader(input))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs([]string{"-"})
		err := cmd.Execute()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q\n%s", err, want, &out)
		}
	}
}
