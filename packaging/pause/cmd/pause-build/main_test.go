package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/pause"
	platform "ecsagent/platform_windows"
)

// TestMain lets the test's own program be Docker's command line.
func TestMain(m *testing.M) {
	if os.Getenv("PLAYED_DOCKER") == "" {
		os.Exit(m.Run())
	}
	answer, err := (&played{system: "windows", fails: os.Getenv("PLAYED_FAILS")}).docker(context.Background(), os.Args[1:]...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(answer)
}

// played is a Docker.
type played struct {
	system string
	deaf   bool   // the program of the image does not hear that it is to end
	fails  string // beginning of the call that fails
	calls  []string
}

func (p *played) docker(_ context.Context, args ...string) (string, error) {
	line := strings.Join(args, " ")
	p.calls = append(p.calls, line)
	if p.fails != "" && strings.HasPrefix(line, p.fails) {
		return "", errors.New("Fehler vom Daemon bei " + line)
	}
	switch args[0] {
	case "version":
		return p.system, nil
	case "build":
		return "Step 1/5", nil
	case "run":
		return "9c41d27e55b0", nil
	case "logs":
		if p.deaf {
			return "holding the network of a task", nil
		}
		return "holding the network of a task\nshutting down, got signal: terminated", nil
	case "save":
		return "", os.WriteFile(args[2], []byte("archive"), 0o600)
	}
	return "", nil
}

// scene is a filled folder with a played Docker.
func scene(t *testing.T) (*builder, *bytes.Buffer, *played) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"pause.exe", "Dockerfile"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, out := &played{system: "windows"}, &bytes.Buffer{}
	return &builder{
		base: "registry.example/core:1", program: "docker", docker: p.docker, dir: dir, archive: filepath.Join(t.TempDir(), "images", "pause.tar"), out: out,
	}, out, p
}

const (
	version = "version --format {{.Server.Os}}"
	start   = "run --detach --network none " + image
	routes  = "exec --user ContainerAdministrator 9c41d27e55b0 netsh interface ipv4 show route"
	stop    = "stop -t 30 9c41d27e55b0"
	logs    = "logs 9c41d27e55b0"
	remove  = "rm --force 9c41d27e55b0"
)

func TestBuild(t *testing.T) {
	b, out, p := scene(t)
	if err := b.run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	build := "build --build-arg BASE=registry.example/core:1 --tag " + image + " " + b.dir
	if diff := cmp.Diff([]string{version, build, start, routes, stop, logs, remove, "save --output " + b.archive + ".part " + image}, p.calls); diff != "" {
		t.Error(diff)
	}
	if text, err := os.ReadFile(b.archive); err != nil || string(text) != "archive" {
		t.Errorf("%q %v", text, err)
	}
	if want := "built " + image + " on registry.example/core:1\nwrote " + b.archive + "\n"; out.String() != want {
		t.Errorf("says %q, want %q", out, want)
	}
}

// TestEndedByForce: an image whose program is deaf is one, with a warning.
func TestEndedByForce(t *testing.T) {
	b, out, p := scene(t)
	p.deaf = true
	if err := b.run(t.Context(), nil); err != nil || !strings.Contains(out.String(), "warning: the program was ended by force") {
		t.Errorf("%v %q", err, out)
	}
}

// TestFailures: whatever command fails, what Docker said is told, nothing comes after it but
// the removal of the container, and there is no archive.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		fails string
		last  string // beginning of the last call
	}{
		{"version", "version"}, {"build", "build"}, {"run", "run"}, {"exec", remove}, {"stop", remove}, {"logs", remove}, {"rm", remove}, {"save", "save"},
	} {
		t.Run(tt.fails, func(t *testing.T) {
			b, _, p := scene(t)
			p.fails = tt.fails
			if err := b.run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "Fehler vom Daemon bei "+tt.fails) {
				t.Errorf("error %v", err)
			}
			if last := p.calls[len(p.calls)-1]; !strings.HasPrefix(last, tt.last) {
				t.Errorf("the last of %q is not %q", p.calls, tt.last)
			}
			if left, err := filepath.Glob(b.archive + "*"); err != nil || len(left) > 0 {
				t.Errorf("left %q %v", left, err)
			}
		})
	}
}

// TestCommand: what Docker's command line says is the answer, or the reason; what it says of
// a build is shown as it comes.
func TestCommand(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PLAYED_DOCKER", "1")
	t.Setenv("PLAYED_FAILS", "stop")
	b, out, _ := scene(t)
	b.program = self
	if answer, err := b.command(t.Context(), "run", image); answer != "9c41d27e55b0" || err != nil {
		t.Errorf("%q %v", answer, err)
	}
	if answer, err := b.command(t.Context(), "build", "."); answer != "" || err != nil || strings.TrimSpace(out.String()) != "Step 1/5" {
		t.Errorf("%q %v, shown %q", answer, err, out)
	}
	want := self + " stop -t 30 x: exit status 1: Fehler vom Daemon bei stop -t 30 x"
	if _, err := b.command(t.Context(), "stop", "-t", "30", "x"); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	b.program = filepath.Join(b.dir, "docker")
	if _, err := b.command(t.Context(), "version"); !errors.Is(err, os.ErrNotExist) && !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(b *builder, p *played)
		args []string
		want string
	}{
		"argument":        {func(*builder, *played) {}, []string{"x"}, `argument "x": want options alone (-h lists them)`},
		"no program":      {func(b *builder, _ *played) { _ = os.Remove(filepath.Join(b.dir, "pause.exe")) }, nil, "look for pause.exe beside this program"},
		"no Dockerfile":   {func(b *builder, _ *played) { _ = os.Remove(filepath.Join(b.dir, "Dockerfile")) }, nil, "look for Dockerfile beside this program"},
		"engine of Linux": {func(_ *builder, p *played) { p.system = "linux" }, nil, `the engine of docker runs containers of "linux", want windows`},
	} {
		t.Run(name, func(t *testing.T) {
			b, _, p := scene(t)
			tt.set(b, p)
			if err := b.run(t.Context(), tt.args); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestBases: each release that can have tasks with networks of their own has a base image
// of its name.
func TestBases(t *testing.T) {
	for build, name := range bases {
		family := platform.Family(build, "Server Core")
		release := strings.TrimSuffix(strings.TrimPrefix(family, "WINDOWS_SERVER_"), "_CORE")
		if want := "mcr.microsoft.com/windows/servercore:ltsc" + release; name != want {
			t.Errorf("base of build %s is %s, want %s", build, name, want)
		}
	}
	for _, build := range []string{"17763", "20348", "26100"} {
		if got, err := base(build); err != nil || got != bases[build] {
			t.Errorf("build %s: %s %v", build, got, err)
		}
	}
	if _, err := base("14393"); err == nil || err.Error() != `build "14393" of Windows has no base image here, want one of 17763, 20348, 26100; name one with -base` {
		t.Errorf("error %v", err)
	}
	if image != pause.Image {
		t.Errorf("builds %s, and the agent looks for %s", image, pause.Image)
	}
}

// TestHostBuild: where no base is named, that of the host's Windows is taken, or asked for.
func TestHostBuild(t *testing.T) {
	build, err := hostBuild()
	if runtime.GOOS != "windows" {
		if err == nil {
			t.Errorf("build %q", build)
		}
		b, _, _ := scene(t)
		b.base = ""
		if err := b.run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "name a base image with -base") {
			t.Errorf("error %v", err)
		}
		return
	}
	if err != nil || build == "" || strings.Trim(build, "0123456789") != "" {
		t.Errorf("build %q %v", build, err)
	}
}

// TestDockerfile: what is built is the program that holds the network, run by the user that
// may set routes, upon a base that is named.
func TestDockerfile(t *testing.T) {
	text, err := os.ReadFile("../../windows/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	want := []string{
		"ARG BASE=" + bases["20348"], "FROM ${BASE}", `COPY pause.exe C:\pause.exe`, "USER ContainerAdministrator", `ENTRYPOINT ["C:\\pause.exe"]`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(string(text), "# escape=`\n") {
		t.Error("a backslash would continue lines: the first line has to be # escape=`")
	}
}
