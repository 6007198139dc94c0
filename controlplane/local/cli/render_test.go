package cli_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ecsagent/controlplane/local/cli"
)

var updateRendered = flag.Bool("update", false, "write the golden files")

// The task that agents are sent for each example, and for a definition with every
// setting that needs nothing from elsewhere.
func TestRenderGolden(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "examples", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d examples, error %v", len(files), err)
	}
	for _, file := range append(files, filepath.Join("testdata", "rich.json")) {
		done := command("", "render", file)
		if done.code != cli.ExitOK || done.err != "" {
			t.Errorf("%s: exit code %d, %s", file, done.code, done.err)
			continue
		}
		golden := filepath.Join("testdata", "render", filepath.Base(file))
		if *updateRendered {
			if err := os.WriteFile(golden, []byte(done.out), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), done.out); diff != "" {
			t.Errorf("%s (-want +got):\n%s", golden, diff)
		}
	}
}

func TestRenderForms(t *testing.T) {
	file := filepath.Join(t.TempDir(), "described.json")
	described := `{"taskDefinition": {"family": "f", "revision": 9, "status": "ACTIVE", "containerDefinitions": [{"name": "a", "image": "i", "memory": 8}]}, "tags": []}`
	if err := os.WriteFile(file, []byte(described), 0o600); err != nil {
		t.Fatal(err)
	}
	done := command("", "render", file, "--cluster", "prod", "--env", "MODE=a=b")
	for _, want := range []string{`"desiredStatus": "RUNNING"`, `"arn": "arn:aws:ecs:us-east-1:000000000000:task/prod/0`, `"MODE": "a=b"`, `"family": "f"`} {
		if !strings.Contains(done.out, want) {
			t.Errorf("%s is not in %s%s", want, done.out, done.err)
		}
	}
	if err := os.WriteFile(file, []byte(`{"family": "f", "volumes": [{"name": "v", "s3filesVolumeConfiguration": {"fileSystemArn": "arn:aws:s3files:us-east-1:000000000000:file-system/fs-1"}}],
		"containerDefinitions": [{"name": "a", "image": "i", "memory": 8}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"render"}, cli.ExitUsage, "accepts 1 arg"},
		{[]string{"render", "no-such-file"}, cli.ExitUsage, "read task definition"},
		{[]string{"render", file, "--env", "novalue"}, cli.ExitUsage, "write NAME=VALUE"},
		{[]string{"render", file}, cli.ExitFailed, `volume "v" needs an attachment`},
	} {
		done := command("", c.args...)
		if done.code != c.code || !strings.Contains(done.err, c.want) || done.out != "" {
			t.Errorf("%q: exit code %d, %s%s", c.args, done.code, done.out, done.err)
		}
	}
}
