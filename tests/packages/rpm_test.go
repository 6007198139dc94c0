package packages

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	images "ecsagent/tests/image"
)

// The rpm is installed into a system that has nothing but a shell: over a version before,
// downgraded, upgraded and erased, with what its scripts do.
func TestRPM(t *testing.T) {
	host(t) // it needs root, and is as slow as what needs an engine
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	rpm := find(t, filepath.Join(packages(t), "*.rpm"))
	busybox, err := images.FindBusybox()
	if err != nil {
		t.Skip(err)
	}
	script := func(text string) {
		t.Helper()
		out, err := run(t.Context(), prelude+`
			rpm() { command rpm --root "$ROOT" --dbpath /var/lib/rpm "$@"; }
			`+text, []string{"ROOT=" + root, "RPM=" + rpm, "BUSYBOX=" + busybox, "DIR=" + dir}, "bash", "-euo", "pipefail", "-s")
		if err != nil {
			t.Fatal(err)
		}
		if out != "" {
			t.Log(out)
		}
	}
	// The version before has the same scripts, and one of the programs.
	before := filepath.Join(dir, "before.yaml")
	nfpm := fmt.Sprintf(`{name: ecs-agent, arch: %s, platform: linux, version: 0.0.1, release: "1", maintainer: nobody, description: before, license: none,
		scripts: {postinstall: packaging/scripts/postinstall.sh, preremove: packaging/scripts/preremove.sh, postremove: packaging/scripts/postremove.sh},
		contents: [{src: packaging/default/ecs.config, dst: /usr/share/amazon-ecs/ecs.config}, {src: packaging/default/ecs.config, dst: /usr/share/amazon-ecs/former}, {dst: /etc/ecs, type: dir}]}`, architecture(rpm))
	if err := os.WriteFile(before, []byte(nfpm), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t.Context(), "", nil, "make", "-s", "nfpm", "MAKEFLAGS=", "CONFIG="+before, "TARGET="+filepath.Join(dir, "before.rpm")); err != nil {
		t.Fatal(err)
	}
	script(`
		mkdir -p "$ROOT/bin" "$ROOT/var/lib/rpm"
		cp "$BUSYBOX" "$ROOT/bin/busybox"
		for name in sh cp chmod rm rmdir; do ln -s busybox "$ROOT/bin/$name"; done
		rpm --initdb
		rpm -i --nodeps "$DIR/before.rpm"
		has "settings" "$(cat "$ROOT/etc/ecs/ecs.config")" ECS_CLUSTER
		echo '# mine' >>"$ROOT/etc/ecs/ecs.config"`)
	script(`
		rpm -U --nodeps "$RPM"
		is "versions" "$(rpm -qa ecs-agent | wc -l)" 1
		is "former file" "$(ls "$ROOT/usr/share/amazon-ecs/former" 2>&1 | grep -c 'No such')" 1
		has "settings" "$(cat "$ROOT/etc/ecs/ecs.config")" '# mine'
		is "what differs from the package" "$(rpm -V --nodeps ecs-agent)" ""
		is "state folder" "$(stat -c '%a %u' "$ROOT/var/lib/ecs/data")" "700 0"
		is "link" "$(readlink -f "$ROOT/usr/bin/ecs-agent")" "$ROOT/usr/libexec/amazon-ecs/ecs-agent"
		"$ROOT/usr/libexec/amazon-ecs-init" version >/dev/null
		echo state >"$ROOT/var/lib/ecs/data/ecs-agent.db"`)
	script(`
		rpm -U --nodeps --oldpackage "$DIR/before.rpm"
		is "programs" "$(find "$ROOT/usr/libexec" -type f 2>/dev/null)" ""
		has "settings" "$(cat "$ROOT/etc/ecs/ecs.config")" '# mine'
		rpm -U --nodeps "$RPM"
		rpm -e --nodeps ecs-agent
		has "settings" "$(cat "$ROOT/etc/ecs/ecs.config")" '# mine'
		is "state" "$(cat "$ROOT/var/lib/ecs/data/ecs-agent.db")" state
		is "left" "$(find "$ROOT" -path "$ROOT/bin" -prune -o -path "$ROOT/var/lib/rpm" -prune -o -type f -print -o -type l -print | sed "s,$ROOT,," | sort | tr '\n' ' ')" "/etc/ecs/ecs.config /var/lib/ecs/data/ecs-agent.db "
		rpm -i --nodeps "$RPM"
		has "settings of before" "$(cat "$ROOT/etc/ecs/ecs.config")" '# mine'`)
}

// architecture is that of a package, as nfpm calls it.
func architecture(rpm string) string {
	if strings.HasSuffix(rpm, ".aarch64.rpm") {
		return "arm64"
	}
	return "amd64"
}
