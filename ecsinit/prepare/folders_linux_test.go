package prepare

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ecsagent/agent/config"
)

func TestFolders(t *testing.T) {
	cfg, _, err := config.Load(t.Context(), config.Sources{
		GOOS: "linux", Environ: []string{"AWS_DEFAULT_REGION=us-east-1", "ECS_DATADIR=/srv/ecs"},
		ReadFile: func(string) ([]byte, error) { return nil, os.ErrNotExist }, Exists: func(string) bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	h := Host{Config: cfg, Root: t.TempDir()}
	out, told, err := run(t, h.folders(), h.mounts())
	if err != nil || told != "" || strings.Count(out, "\n") < 6 {
		t.Errorf("%v, %q, %q", err, out, told)
	}
	for path, mode := range map[string]os.FileMode{
		"/srv/ecs": 0o700, "/var/log/ecs": 0o755, "/var/log/ecs/exec": 0o755, "/var/cache/ecs": 0o755,
		"/var/lib/ecs/deps/execute-command/config": 0o755, "/mnt/ecs/ebs": 0o755,
	} {
		info, err := os.Stat(filepath.Join(h.Root, path))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if out, _, err := run(t, h.folders(), h.mounts()); err != nil || out != "" {
		t.Errorf("once more: %q, %v", out, err)
	}
	if err := os.RemoveAll(filepath.Join(h.Root, "/mnt")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.Root, "mnt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, told, err := run(t, h.mounts()); err != nil || !strings.Contains(told, "not a directory") {
		t.Errorf("a file in the way of volumes: %v, %q", err, told)
	}
	if err := os.RemoveAll(filepath.Join(h.Root, "/srv/ecs")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.Root, "/srv/ecs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t, h.folders()); err == nil || !strings.Contains(err.Error(), "is no folder: move it away") {
		t.Errorf("a file in the way of the state: %v", err)
	}
}
