package packages

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// platforms are what packages are made for, with the names that rpm has for them.
var platforms = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// Everything that make package makes is the same when it is made again, in other
// surroundings, and is the same for each architecture but for the programs.
func TestArtefacts(t *testing.T) {
	host(t) // it is as slow as what needs an engine
	t.Parallel()
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	first, again := t.TempDir(), t.TempDir()
	if err := build(t.Context(), first, other, "deb rpm image zip"); err != nil {
		t.Fatal(err)
	}
	surroundings := []string{"TZ=Pacific/Auckland", "LC_ALL=C.UTF-8", "HOSTNAME=elsewhere", "USER=somebody", "TMPDIR=" + t.TempDir()}
	if err := build(t.Context(), again, "amd64 arm64", "deb rpm image zip", surroundings...); err != nil {
		t.Fatal(err)
	}

	sums := digests(t, again)
	want := append([]string{"*-windows_*.zip", "*-windows_*.spdx.json"}, perPlatform("*_%d.deb", "*.%r.rpm", "ecs-agent-image_*_%d.tar", "ecs-agent_*_%d.spdx.json")...)
	if len(sums) != len(want) {
		t.Errorf("made: %v; want one of each of %v", sums, want)
	}
	for _, pattern := range want {
		find(t, filepath.Join(again, pattern))
	}
	before := digests(t, first)
	for name, sum := range digests(t, packages(t)) {
		before[name] = sum
	}
	for name, sum := range sums {
		if before[name] != sum {
			t.Errorf("%s differs from build to build", name)
		}
	}

	var lists []string
	for deb, rpm := range platforms {
		out, err := run(t.Context(), prelude+`
			dpkg-deb -x "$AGAIN"/*_"$DEB".deb "$DIR/deb"
			mkdir "$DIR/rpm" && (cd "$DIR/rpm" && rpm2archive - <"$(ls "$AGAIN"/*."$RPM".rpm)" | tar xz)
			is "architecture of the deb" "$(dpkg-deb -f "$AGAIN"/*_"$DEB".deb Architecture)" "$DEB"
			is "architecture of the rpm" "$(rpm -qp --qf '%{ARCH}' "$AGAIN"/*."$RPM".rpm 2>/dev/null)" "$RPM"
			machine() { od -An -tu1 -j18 -N1 "$1" | tr -d ' '; }
			case $DEB in amd64) elf=62 ;; arm64) elf=183 ;; esac
			for program in amazon-ecs-init amazon-ecs/ecs-agent amazon-ecs/cni/ecs-cni; do
				for root in deb rpm; do
					is "$root: $program" "$(machine "$DIR/$root/usr/libexec/$program")" $elf
					cmp "$DIR/$root/usr/libexec/$program" "$DIR/deb/usr/libexec/$program"
				done
			done
			# The image of pauses is an image of one layer with one program, likewise.
			mkdir "$DIR/pause" && tar -C "$DIR/pause" -xf "$DIR/deb/usr/share/amazon-ecs/amazon-ecs-pause.tar"
			find "$DIR/pause" -type f -size +0 | while read -r layer; do tar -C "$DIR/pause" -xf "$layer" 2>/dev/null || true; done
			is "pause" "$(machine "$DIR/pause/pause")" $elf
			cd "$DIR" && find deb rpm -printf '%M %y %p %l\n' | sort`,
			[]string{"AGAIN=" + again, "DIR=" + t.TempDir(), "DEB=" + deb, "RPM=" + rpm}, "bash", "-euo", "pipefail", "-s")
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, out)
	}
	if lists[0] != lists[1] || !strings.Contains(lists[0], "/usr/libexec/amazon-ecs/cni/vpc-branch-eni") {
		t.Errorf("what is in the packages differs from architecture to architecture:\n%s\n%s", lists[0], lists[1])
	}
}

// perPlatform fills %d and %r of each pattern with deb's and rpm's name of each platform.
func perPlatform(patterns ...string) (all []string) {
	for deb, rpm := range platforms {
		for _, pattern := range patterns {
			all = append(all, strings.NewReplacer("%d", deb, "%r", rpm).Replace(pattern))
		}
	}
	slices.Sort(all)
	return all
}

// digests are the SHA-256 of the files of a folder, by name.
func digests(t *testing.T, dir string) map[string][sha256.Size]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string][sha256.Size]byte)
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		sums[e.Name()] = [sha256.Size]byte(h.Sum(nil))
	}
	return sums
}
