package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ecsagent/agent/app"
)

func TestCommandLine(t *testing.T) {
	good := filepath.Join(t.TempDir(), "ecs.config")
	bad := filepath.Join(t.TempDir(), "ecs.config")
	for path, text := range map[string]string{good: "ECS_CLUSTER=prod\n", bad: "ECS_CLUSTER=prod\nECS_CLUSTR=x\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"-version", app.ExitOK, "Amazon ECS Agent:\n\tVersion: ", ""},
		{"--license", app.ExitOK, "Apache License", ""},
		{"-nonsense", app.ExitTerminal, "", "flag provided but not defined"},
		{"-h", app.ExitTerminal, "", "-blackhole-ec2-metadata"},
		{"-k=true stray", app.ExitTerminal, "", "unexpected argument stray"},
		{"version", app.ExitOK, "Amazon ECS Agent - v", ""},
		{"nonsense", app.ExitFailure, "", "unknown command"},
		{"config check " + good, app.ExitOK, "", ""},
		{"config check " + bad, app.ExitFailure, bad + ":2: ECS_CLUSTR", ""},
		{"config reference", app.ExitOK, "ECS_CLUSTER", ""},
	} {
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(c.args), &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("ecs-agent %s: exit code %d (want %d)\nstdout: %.300s\nstderr: %.300s", c.args, code, c.code, &stdout, &stderr)
		}
		if strings.Contains(stderr.String(), "exit code") {
			t.Errorf("ecs-agent %s tells its exit code as an error: %s", c.args, &stderr)
		}
	}
}
