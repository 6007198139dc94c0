package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShow(t *testing.T) {
	h := host{
		env: []string{"AWS_SECRET_ACCESS_KEY=hunter2", "ECS_LOG_OPTS={}", "HTTPS_PROXY=http://u:hunter2@proxy:1"},
		files: map[string]string{
			userFile: "ECS_CLUSTER=prod\nECS_DATADIR=/data\nECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA={\"r\":{}}\nAWS_ENDPOINT_URL_ECS=http://u:p@127.0.0.1:1\nECS_IMAGE_CLEANUP_INTERVAL=1m",
			jsonFile: "{\n\"PauseContainerTag\": \"2\"}",
		},
	}
	var b bytes.Buffer
	if code := RunShow(context.Background(), &b, h.sources(), FormatJSON); code != ExitOK {
		t.Errorf("exit code %d", code)
	}
	var values []Value
	if err := json.Unmarshal(b.Bytes(), &values); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, v := range values {
		got[v.Name] = v.Value + " | " + v.Origin
	}
	for name, want := range map[string]string{
		"ECS_CLUSTER":                "prod | /etc/ecs/ecs.config:1",
		"ECS_DATADIR":                "/var/lib/ecs/data | /etc/ecs/ecs.config:2 (for /data)",
		"ECS_ENGINE_AUTH_DATA":       "[redacted] | /etc/ecs/ecs.config:4",
		"AWS_SECRET_ACCESS_KEY":      "[redacted] | environment",
		"HTTPS_PROXY":                "http://[redacted]@proxy:1 | environment",
		"AWS_ENDPOINT_URL_ECS":       "http://[redacted]@127.0.0.1:1 | /etc/ecs/ecs.config:5",
		"AWS_DEFAULT_REGION":         "us-west-2 | instance metadata",
		"PauseContainerTag":          "2 | /etc/ecs/ecs.config.json:2",
		"ECS_IMAGE_CLEANUP_INTERVAL": "30m | default (1m is below 10m)",
		"ECS_RESERVED_MEMORY":        "0 | default",
		"HTTP_PROXY":                 "",
		"ZZZ_SKIP_DOMAIN_JOIN_CHECK_NOT_SUPPORTED_IN_PRODUCTION": "",
	} {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
	b.Reset()
	h.env = append(h.env, "ECS_INSTANCE_ATTRIBUTES={")
	if code := RunShow(context.Background(), &b, h.sources(), FormatText); code != ExitFindings {
		t.Errorf("exit code %d of a configuration that cannot run", code)
	}
	if !strings.Contains(b.String(), "ECS_CLUSTER ") || strings.Contains(b.String(), "hunter2") {
		t.Errorf("text output: %s", b.String())
	}
}

func TestRunCheck(t *testing.T) {
	h := host{noIMDS: true, files: map[string]string{
		"/x/ecs.config": "ECS_CLUSTR=x\nECS_CLUSTER=a\x1b[0mb",
		"/x/good":       "ECS_CLUSTER=prod\nECS_EBSTA_SUPPORTED=true\nECS_DATADIR=/data\n",
		"/x/c.JSON":     "{\n\"Clustr\": \"x\"\n}",
		"/x/bad.json":   "{",
		"/x/big":        strings.Repeat("\n", maxFileBytes+1),
	}}
	for _, test := range []struct {
		file string
		code int
		want string
	}{
		{"/x/good", ExitOK, ""},
		{"/x/ecs.config", ExitFindings, "/x/ecs.config:1: ECS_CLUSTR: is not a known setting (want ECS_CLUSTER)\n" +
			"/x/ecs.config:2: ECS_CLUSTER: \"a?[0mb\" is not a cluster (want 1 to 255 letters, digits, - and _, or a cluster's ARN)\n"},
		{"/x/c.JSON", ExitFindings, "/x/c.JSON:2: Clustr: is not a known setting (want Cluster)\n"},
		{"/x/bad.json", ExitFindings, "/x/bad.json:1: is not JSON: unexpected end of JSON input (want a JSON object)\n"},
		{"/x/big", ExitFindings, "/x/big: is larger than 1 MiB and is left out\n"},
		{"/x/missing", ExitUnreadable, "read configuration file: open /x/missing: file does not exist\n"},
		{"", ExitFindings, "environment: AWS_DEFAULT_REGION: is not set and the instance metadata does not tell (want a region such as us-east-1)\n"},
	} {
		var b bytes.Buffer
		code := RunCheck(context.Background(), &b, h.sources(), test.file, FormatText)
		if code != test.code {
			t.Errorf("%s: exit code %d, want %d", test.file, code, test.code)
		}
		if diff := cmp.Diff(test.want, b.String()); diff != "" {
			t.Errorf("%s: %s", test.file, diff)
		}
	}
	var b bytes.Buffer
	RunCheck(context.Background(), &b, h.sources(), "/x/c.JSON", FormatJSON)
	want := `[{"severity":"warning","source":"/x/c.JSON","line":2,"name":"Clustr","problem":"is not a known setting","want":"Cluster"}]`
	var compact bytes.Buffer
	if err := json.Compact(&compact, b.Bytes()); err != nil || compact.String() != want {
		t.Errorf("%v: %s", err, compact.String())
	}
	if code := RunCheck(context.Background(), brokenWriter{}, h.sources(), "/x/c.JSON", FormatText); code != ExitUnreadable {
		t.Errorf("exit code %d when the output cannot be written", code)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("closed") }
