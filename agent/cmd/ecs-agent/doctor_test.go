package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/config"
	"ecsagent/agent/config/configcmd"
	"ecsagent/agent/doctor"
	"ecsagent/agent/endpoint/introspection"
)

// serveHealth runs an introspection server whose doctor found something.
func serveHealth(t *testing.T, findings ...doctor.Finding) string {
	examined := make(chan struct{})
	d := doctor.New(doctor.Options{Log: zap.NewNop(), Changed: func(*doctor.Report) { close(examined) }, Checks: []doctor.Check{
		{Name: "docker", Type: doctor.ContainerRuntime, Run: func(context.Context) ([]doctor.Finding, bool) { return findings, true }},
		{Name: "clock", Type: doctor.Agent, Run: func(context.Context) ([]doctor.Finding, bool) { return nil, false }},
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	<-examined
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(introspection.Handler(introspection.Options{Health: d.Report, Log: zap.NewNop()}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func runDoctor(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	cmd := newDoctor(func() config.Sources { return config.Sources{GOOS: "linux"} }, func() time.Time { return time.Now().Add(time.Hour) })
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	err := cmd.Execute()
	var exit *configcmd.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.Code
	case err != nil:
		code = 1
		errs.WriteString(err.Error())
	}
	return code, out.String(), errs.String()
}

func TestDoctorCommand(t *testing.T) {
	healthy := serveHealth(t)
	warned := serveHealth(t, doctor.DiskNearlyFull.Found("/: 7 MiB"))
	impaired := serveHealth(t, doctor.DockerUnreachable.Found("no\nsocket"))
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"AvailableCommands":[]}`)
	}))
	defer other.Close()
	for name, c := range map[string]struct {
		args   []string
		code   int
		stdout []string
		stderr string
	}{
		"healthy":     {[]string{"--address", healthy}, 0, []string{"OK: healthy\n", "docker         OK for 1h0", "clock          INSUFFICIENT_DATA"}, ""},
		"warned":      {[]string{"--address", warned}, 0, []string{"OK: A disk is nearly full\n", "(warning, disk-nearly-full)\n  /: 7 MiB\n"}, ""},
		"impaired":    {[]string{"--address", impaired}, 1, []string{"IMPAIRED: Docker does not answer", "  no socket\n"}, ""},
		"JSON":        {[]string{"--address", impaired, "-o", "json"}, 1, []string{`"Status": "IMPAIRED"`, `"Code": "docker-unreachable"`}, ""},
		"nobody":      {[]string{"--address", "127.0.0.1:1"}, 2, nil, "ask the agent at 127.0.0.1:1: "},
		"another":     {[]string{"--address", strings.TrimPrefix(other.URL, "http://")}, 2, nil, "does not speak of health"},
		"wrong":       {[]string{"-o", "xml"}, 1, nil, `output format "xml": want text or json`},
		"wrong place": {[]string{"--address", "%"}, 2, nil, "ask the agent at %: "},
	} {
		code, stdout, stderr := runDoctor(c.args...)
		if code != c.code || !strings.Contains(stderr, c.stderr) {
			t.Errorf("%s: exit code %d (want %d)\n%s", name, code, c.code, stderr)
		}
		for _, want := range c.stdout {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, stdout)
			}
		}
	}
}

func TestHealthOverHTTP(t *testing.T) {
	for findings, want := range map[*doctor.Condition]int{nil: 200, doctor.ClockSkewed: 200, doctor.StoreFailing: 503} {
		var found []doctor.Finding
		if findings != nil {
			found = append(found, findings.Found("x"))
		}
		response, err := http.Get("http://" + serveHealth(t, found...) + "/v1/health")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%+v: %s, want %d", findings, response.Status, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestRulesShow(t *testing.T) {
	t.Setenv("ECS_CONFIG_FILE", t.TempDir()+"/none")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"rules show", 0, "# tasks reach credentials and metadata\niptables -w 5 -t nat -A PREROUTING "},
		{"rules show -o json", 0, `"ID": "R5"`},
		{"rules show -o iptables", 0, "-j REDIRECT --to-ports 51679\n"},
		{"rules show -o nft", 0, "table ip ecs-agent {\n"},
		{"rules show -o yaml", 1, ""},
	} {
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(c.args), &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String(), c.want) {
			t.Errorf("ecs-agent %s: exit code %d\n%s%s", c.args, code, &stdout, &stderr)
		}
	}
}
