package packages

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	images "ecsagent/tests/image"
)

// rpmRoot is a folder with a system that has nothing but a shell, and what runs scripts
// beside it that call rpm and dnf for the system; $RPM is the package, $ROOT the system.
func rpmRoot(t *testing.T) (dir string, script func(text string)) {
	t.Helper()
	dir = t.TempDir()
	rpm := find(t, filepath.Join(packages(t), "*.rpm"))
	busybox, err := images.FindBusybox()
	if err != nil {
		t.Skip(err)
	}
	script = func(text string) {
		t.Helper()
		out, err := run(t.Context(), prelude+`
			rpm() { command rpm --root "$ROOT" --dbpath /var/lib/rpm "$@"; }
			dnf() { command dnf --installroot="$ROOT" --noplugins --disablerepo='*' --setopt=reposdir="$DIR" --setopt=cachedir="$DIR/cache" --setopt=persistdir="$DIR/kept" --releasever=1 --assumeyes "$@" >"$DIR/dnf.log" 2>&1; }
			`+text, []string{"ROOT=" + filepath.Join(dir, "root"), "RPM=" + rpm, "BUSYBOX=" + busybox, "DIR=" + dir}, "bash", "-euo", "pipefail", "-s")
		if err != nil {
			t.Fatal(err)
		}
		if out != "" {
			t.Log(out)
		}
	}
	script(`
		mkdir -p "$ROOT/bin" "$ROOT/var/lib/rpm" "$ROOT/dev"
		touch "$ROOT/dev/null"
		cp "$BUSYBOX" "$ROOT/bin/busybox"
		for name in sh cp chmod rm rmdir; do ln -s busybox "$ROOT/bin/$name"; done
		rpm --initdb`)
	return dir, script
}

// The rpm is installed into a system that has nothing but a shell: over a version before,
// downgraded, upgraded and erased, with what its scripts do.
func TestRPM(t *testing.T) {
	host(t) // it needs root, and is as slow as what needs an engine
	t.Parallel()
	dir, script := rpmRoot(t)
	rpm := find(t, filepath.Join(packages(t), "*.rpm"))
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
		is "left" "$(find "$ROOT" -path "$ROOT/bin" -prune -o -path "$ROOT/dev" -prune -o -path "$ROOT/var/lib/rpm" -prune -o -type f -print -o -type l -print | sed "s,$ROOT,," | sort | tr '\n' ' ')" "/etc/ecs/ecs.config /var/lib/ecs/data/ecs-agent.db "
		rpm -i --nodeps "$RPM"
		has "settings of before" "$(cat "$ROOT/etc/ecs/ecs.config")" '# mine'`)
}

// dnf takes the rpm in the place of the official package, whose part rpmbuild plays here, and
// back, and nothing of the host's settings and state goes with either.
func TestSwap(t *testing.T) {
	host(t) // it needs root, and is as slow as what needs an engine
	t.Parallel()
	if _, err := exec.LookPath("dnf"); err != nil {
		t.Skip("dnf is missing: scripts/deps test")
	}
	_, script := rpmRoot(t)
	script(`
		rpm() { command rpm --root "$ROOT" "$@"; } # where dnf looks too
		cat >"$DIR/base.spec" <<-'END'
			Name: base
			Version: 1
			Release: 1
			Summary: what a distribution has
			License: none
			BuildArch: noarch
			Provides: systemd ca-certificates /bin/sh
			%description
			None.
			%files
		END
		cat >"$DIR/ecs-init.spec" <<-'END'
			Name: ecs-init
			Version: 1.90.0
			Release: 1
			Summary: has the files of the official package
			License: none
			BuildArch: noarch
			%description
			None.
			%install
			mkdir -p %{buildroot}/etc/ecs %{buildroot}/var/lib/ecs/data %{buildroot}/var/cache/ecs %{buildroot}/usr/libexec %{buildroot}/usr/lib/systemd/system
			for file in var/cache/ecs/state usr/libexec/amazon-ecs-init usr/libexec/amazon-ecs-volume-plugin usr/lib/systemd/system/ecs.service; do echo official >%{buildroot}/$file; done
			%files
			%dir /etc/ecs
			%ghost %config(noreplace) /etc/ecs/ecs.config
			%ghost %config(noreplace) /etc/ecs/ecs.config.json
			/var/lib/ecs/data
			/var/cache/ecs/state
			/usr/libexec/amazon-ecs-init
			/usr/libexec/amazon-ecs-volume-plugin
			/usr/lib/systemd/system/ecs.service
		END
		for name in base ecs-init; do
			rpmbuild -bb --define "_topdir $DIR/build" "$DIR/$name.spec" >"$DIR/log" 2>&1 || { cat "$DIR/log"; exit 1; }
		done
		official=$(ls "$DIR"/build/RPMS/noarch/ecs-init-*.rpm)
		kept() { is "settings and state" "$(cat "$ROOT/etc/ecs/ecs.config" "$ROOT/etc/ecs/ecs.config.json" "$ROOT/var/lib/ecs/data/agent.db" | tr '\n' ' ')" "ECS_CLUSTER=mine {} state "; }
		dnf install "$DIR"/build/RPMS/noarch/base-*.rpm "$official"
		echo ECS_CLUSTER=mine >"$ROOT/etc/ecs/ecs.config"; echo '{}' >"$ROOT/etc/ecs/ecs.config.json"; echo state >"$ROOT/var/lib/ecs/data/agent.db"

		if dnf install "$RPM"; then echo "both are installed"; exit 1; fi
		has "why not" "$(cat "$DIR/dnf.log")" "conflicts with ecs-init"
		dnf swap ecs-init "$RPM" || { cat "$DIR/dnf.log"; exit 1; }
		kept
		is "packages" "$(rpm -qa | grep -c ecs-)" 1
		is "what differs from the package" "$(rpm -V ecs-agent)" ""
		is "official files" "$(grep -rlax official "$ROOT/usr/libexec" "$ROOT/usr/lib" "$ROOT/var/cache" || true)" ""

		dnf swap ecs-agent "$official" || { cat "$DIR/dnf.log"; exit 1; }
		kept
		is "what differs from the official package" "$(rpm -V ecs-init | grep -v "c /etc/ecs" || true)" ""
		[ ! -e "$ROOT/usr/bin/ecs-agent" ]`)
}

// architecture is that of a package, as nfpm calls it.
func architecture(rpm string) string {
	if strings.HasSuffix(rpm, ".aarch64.rpm") {
		return "arm64"
	}
	return "amd64"
}
