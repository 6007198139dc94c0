package configcmd

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"ecsagent/agent/config"
)

func TestCommands(t *testing.T) {
	sources := func() config.Sources {
		return config.Sources{
			GOOS: "linux", Environ: []string{"AWS_DEFAULT_REGION=us-east-1", "ECS_CLUSTER=prod"},
			ReadFile: func(path string) ([]byte, error) {
				if path == "bad" {
					return []byte("ECS_CLUSTR=x"), nil
				}
				return nil, fs.ErrNotExist
			},
		}
	}
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"check", 0, ""},
		{"check bad", 1, "bad:1: ECS_CLUSTR: is not a known setting (want ECS_CLUSTER)"},
		{"check bad --output json", 1, `"line": 1`},
		{"check missing", 2, "read configuration file"},
		{"show", 0, "ECS_CLUSTER"},
		{"show -o json", 0, `"origin": "environment"`},
		{"show -o yaml", -1, ""},
		{"show extra", -1, ""},
		{"reference", 0, "# Configuration"},
		{"", 0, "Available Commands"},
	} {
		var out bytes.Buffer
		cmd := NewCommand(sources)
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(strings.Fields(test.args))
		err := cmd.ExecuteContext(context.Background())
		code := 0
		var exit *ExitError
		switch {
		case errors.As(err, &exit):
			code = exit.ExitCode()
		case err != nil:
			code = -1
		}
		if code != test.code || !strings.Contains(out.String(), test.want) {
			t.Errorf("%q: exit code %d, want %d; output %s", test.args, code, test.code, out.String())
		}
	}
}
