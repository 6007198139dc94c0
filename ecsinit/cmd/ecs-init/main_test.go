package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestMain is also the program, for tests that need it as a process.
func TestMain(m *testing.M) {
	if os.Getenv("ECS_INIT_TEST") != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{nil, exitUsage, "ecs-init ACTION", "which action?"},
		{[]string{"upgrade"}, exitUsage, "ecs-init ACTION", `no such action: "upgrade"`},
		{[]string{"--wet-run"}, exitUsage, "ecs-init ACTION", "unknown flag: --wet-run"},
		{[]string{"--help"}, exitOK, "Exit codes:", ""},
		{[]string{"version"}, exitOK, "ecs-init version ", ""},
	} {
		var out, err bytes.Buffer
		code := run(c.args, &out, &err)
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(err.String(), c.err) || c.err == "" && err.Len() > 0 {
			t.Errorf("%q: code %d, printed %q and %q", c.args, code, out.String(), err.String())
		}
	}
}
