package main

import (
	"bytes"
	"io/fs"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/config"
	"ecsagent/agent/endpoint/introspection"
	"ecsagent/agent/task"
)

type agentTasks []*task.Timeline

func (a agentTasks) Snapshots() (all []*task.Snapshot) {
	for _, t := range a {
		all = append(all, t.Snapshot)
	}
	return all
}

func (a agentTasks) Snapshot(string) *task.Snapshot { return nil }
func (a agentTasks) Timelines() []*task.Timeline    { return a }

func (a agentTasks) Timeline(arn string) *task.Timeline {
	for _, t := range a {
		if t.ARN == arn {
			return t
		}
	}
	return nil
}

func TestTasks(t *testing.T) {
	const prefix = "arn:aws:ecs:eu-west-1:111122223333:task/demo/"
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	line := func(id string, known task.Status, age time.Duration, waits ...task.Waiting) *task.Timeline {
		return &task.Timeline{
			Snapshot: &task.Snapshot{Spec: &task.Spec{ARN: prefix + id, Family: "web", Version: "3"}, State: task.State{Known: known, Desired: task.Running}},
			Since:    now.Add(-age), Waits: waits,
			Entries: []task.Entry{{At: now.Add(-age), Container: "app", Event: "status", Detail: "NONE -> PULLED"}, {At: now, Event: "error", Detail: "two\nlines"}},
		}
	}
	agent := agentTasks{
		line("aa11bb22cc33dd44", task.Created, 90*time.Second,
			task.Waiting{Container: "app", For: "dependency", Detail: "health of db", Since: now.Add(-3 * time.Second)},
			task.Waiting{Container: "db", For: "docker", Detail: "Docker to start container db", Since: now}),
		line("aa99", task.Running, 50*time.Hour),
	}
	server := httptest.NewServer(introspection.Handler(introspection.Options{Tasks: agent, Log: zap.NewNop()}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	list := `TASK          DEFINITION  STATUS              SINCE  WAITS FOR
aa99          web:3       RUNNING             2d02h  -
aa11bb22cc33  web:3       CREATED -> RUNNING  1m30s  app: health of db; Docker to start container db
`
	for _, c := range []struct {
		args, out, err string
	}{
		{"", list, ""},
		{"-o json", `"Detail": "health of db"`, ""},
		{"aa1", "Status      CREATED -> RUNNING for 1m30s\n\nWAITS FOR                     CONTAINER  SINCE\nhealth of db                  app        3s\n", ""},
		{"aa1", "app        status  NONE -> PULLED\n", ""},
		{"aa1", "error   two lines\n", ""},
		{"aa99", "Task        " + prefix + "aa99\n", ""},
		{prefix + "aa99 -o json", `"Event": "status"`, ""},
		{"aa", "", "aa is the beginning of 2 tasks: " + prefix + "aa11bb22cc33dd44, " + prefix + "aa99"},
		{"bb", "", "no such task: bb"},
		{"-o yaml", "", `output format "yaml": want text or json`},
		{"--address 127.0.0.1:1", "", "ask the agent at 127.0.0.1:1"},
	} {
		cmd := newTasks(config.System, func() time.Time { return now })
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs(append([]string{"--address", address}, strings.Fields(c.args)...))
		err := cmd.Execute()
		text := ""
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(out.String(), c.out) || !strings.Contains(text, c.err) || c.err == "" && err != nil {
			t.Errorf("tasks %s: error %v\n%s", c.args, err, &out)
		}
	}
}

func TestIntrospectionAddress(t *testing.T) {
	for set, want := range map[string]string{
		"": "127.0.0.1:51678", ":9": "127.0.0.1:9", "0.0.0.0:9": "127.0.0.1:9", "[::]:9": "127.0.0.1:9", "10.0.0.1:9": "10.0.0.1:9",
	} {
		sources := config.Sources{
			GOOS: "linux", Environ: []string{"ECS_INTROSPECTION_ADDRESS=" + set, "AWS_DEFAULT_REGION=eu-west-1"},
			ReadFile: func(string) ([]byte, error) { return nil, fs.ErrNotExist }, Exists: func(string) bool { return false },
		}
		if got := introspectionAddress(t.Context(), sources); got != want {
			t.Errorf("%q: %s, want %s", set, got, want)
		}
	}
}
