package volumeplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// program is a stand-in for mount.
func program(t *testing.T, script string) System {
	t.Helper()
	name := filepath.Join(t.TempDir(), "mount")
	must(t, os.WriteFile(name, []byte("#!/bin/sh\n"+script), 0o755))
	return System{Program: name}
}

func TestMountProgram(t *testing.T) {
	said := filepath.Join(t.TempDir(), "said")
	s := program(t, `for a; do echo "<$a>"; done >`+said)
	must(t, s.Mount(t.Context(), "efs", "tls,iam", "fs-1:/a b", "/mnt/x"))
	must(t, s.Mount(t.Context(), "", "", "fs-2", "/mnt/y"))
	text, err := os.ReadFile(said)
	must(t, err)
	if got := strings.Join(strings.Fields(string(text)), " "); got != "<fs-2> </mnt/y>" {
		t.Errorf("the program was given %s", got)
	}
	s = program(t, `echo "$*"; echo "two
		lines" >&2; exit 32`)
	wants(t, s.Mount(t.Context(), "efs", "tls,iam", "fs-1:/a b", "/mnt/x"),
		s.Program+": exit status 32: -t efs -o tls,iam fs-1:/a b /mnt/x two lines")
	wants(t, s.Mount(t.Context(), "no-such-type", "", "fs-1", "/mnt/x"), "there is no mount.no-such-type on this host: install amazon-efs-utils")
	s = program(t, `head -c 100000 /dev/zero | tr '\0' x >&2; echo; echo end >&2; exit 1`)
	if err := s.Mount(t.Context(), "", "", "d", "/mnt/x"); len(err.Error()) > maxComplaint+200 || !strings.HasSuffix(err.Error(), "xxx end") {
		t.Errorf("%d bytes: %.200s", len(err.Error()), err)
	}
	wants(t, System{Program: "/no/such/program"}.Mount(t.Context(), "", "", "d", "/mnt/x"), "start /no/such/program")
}

// A helper that hangs is killed with its children; what has made itself independent, as
// a tunnel does, goes on and is not waited for.
func TestMountProgramHangs(t *testing.T) {
	dir := t.TempDir()
	pids := filepath.Join(dir, "pids")
	must(t, unix.Mkfifo(pids, 0o600))
	s := program(t, `setsid sleep 3600 & tunnel=$!
		sleep 3600 & child=$!
		echo "asking the server" >&2
		# It leads its own session before its number is told.
		while [ "$(ps -o sid= -p $tunnel | tr -d ' ')" != $tunnel ]; do :; done
		echo "$$ $child $tunnel" >`+pids+`
		wait`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Mount(ctx, "", "", "d", "/mnt/x") }()
	text, err := os.ReadFile(pids)
	must(t, err)
	var own, child, tunnel int
	_, err = fmt.Sscan(string(text), &own, &child, &tunnel)
	must(t, err)
	t.Cleanup(func() { _ = unix.Kill(tunnel, unix.SIGKILL) })
	cancel()
	wants(t, <-ended, "did not end in time and was killed: asking the server")
	for pid, want := range map[int]bool{own: false, tunnel: true} {
		if lives := unix.Kill(pid, 0) == nil; lives != want {
			t.Errorf("process %d lives: %v", pid, lives)
		}
	}
	await(t, "the helper's child ends", func() bool { return !runs(child) })
}

// runs reports whether a process is there and no zombie.
func runs(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, state, _ := strings.Cut(string(text), ") ")
	return err == nil && !strings.HasPrefix(state, "Z")
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !is() {
		select {
		case <-deadline:
			t.Fatal("not within a minute: ", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestMountPoints(t *testing.T) {
	points, err := mountPoints(strings.NewReader(
		"36 35 98:0 /mnt1 /mnt/with\\040space rw,noatime master:1 - ext3 /dev/root rw\n" +
			"37 35 0:5 / /back\\134slash rw - nfs4 127.0.0.1:/ rw\nshort line\n"))
	must(t, err)
	if !points["/mnt/with space"] || !points[`/back\slash`] || len(points) != 2 {
		t.Errorf("%v", points)
	}
	for in, want := range map[string]string{`a\04`: `a\04`, `\999`: `\999`, `\011\012`: "\t\n"} {
		if got := unescape(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// The kernel's part, for real: stacked mounts go as one, and what is in use goes too.
func TestUnmount(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	path := filepath.Join(dir, "with space")
	must(t, os.Mkdir(path, 0o700))
	s := System{}
	must(t, s.Unmount(path))
	must(t, s.Unmount(filepath.Join(dir, "none")))
	for range 2 {
		err := unix.Mount("none", path, "tmpfs", 0, "")
		if errors.Is(err, unix.EPERM) {
			t.Skip("may not mount")
		}
		must(t, err)
	}
	t.Cleanup(func() { _ = s.Unmount(path) })
	used, err := os.Create(filepath.Join(path, "file"))
	must(t, err)
	defer used.Close()
	points, err := s.Points()
	must(t, err)
	if !points[path] {
		t.Errorf("%q is not among the mount points", path)
	}
	must(t, s.Unmount(path))
	if points, err = s.Points(); err != nil || points[path] {
		t.Errorf("still mounted (%v)", err)
	}
}
