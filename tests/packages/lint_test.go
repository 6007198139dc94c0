package packages

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What distributions look for in packages; what is meant to be otherwise is explained in
// packaging/lintian-overrides and packaging/rpmlint.toml.
func TestLint(t *testing.T) {
	host(t) // it is as slow as what needs an engine
	t.Parallel()
	for _, c := range []struct {
		kind string
		args []string
	}{
		{"*.deb", []string{"lintian", "--allow-root", "--fail-on", "error,warning"}},
		{"*.rpm", []string{"rpmlint", "--config", "packaging/rpmlint.toml", "--strict"}},
	} {
		if _, err := exec.LookPath(c.args[0]); err != nil {
			t.Skipf("%s is missing: scripts/deps test", c.args[0])
		}
		if _, err := run(t.Context(), "", nil, c.args[0], append(c.args[1:], find(t, filepath.Join(packages(t), c.kind)))...); err != nil {
			t.Error(err)
		}
	}
	scripts, err := filepath.Glob("../../packaging/scripts/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("%q, %v", scripts, err)
	}
	more, err := filepath.Glob("../../packaging/*/*.sh")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"scripts/package", "scripts/system-root"}
	for _, s := range append(scripts, more...) {
		args = append(args, strings.TrimPrefix(s, "../../"))
	}
	if _, err := run(t.Context(), "", nil, "shellcheck", args...); err != nil {
		t.Error(err)
	}
}
