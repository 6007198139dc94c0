// Command pause-build builds the pause image for Windows, on a Windows Server with Docker,
// out of the folder that it is in: pause.exe and the Dockerfile lie beside it
// (scripts/pause-windows fills such a folder). The image is tried before it counts.
//
//	pause-build [-archive FILE] [-base IMAGE] [-docker PROGRAM]
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// image is the name by which the agent knows it.
const image = "amazon/amazon-ecs-pause:0.1.0"

// bases are the images to build upon, by the build of the Windows Server that runs them:
// containers share the kernel of the host. Server Core has the netsh that sets the routes
// of tasks. Windows Server 2016 is not among them, since its HNS cannot give tasks networks
// of their own.
var bases = map[string]string{
	"17763": "mcr.microsoft.com/windows/servercore:ltsc2019",
	"20348": "mcr.microsoft.com/windows/servercore:ltsc2022",
	"26100": "mcr.microsoft.com/windows/servercore:ltsc2025",
}

func main() {
	b := builder{out: os.Stdout}
	b.docker = b.command
	flag.StringVar(&b.archive, "archive", "", "`FILE` for docker load, as the agent loads it (%ProgramData%\\Amazon\\ECS\\images\\amazon-ecs-pause.tar); none: no archive")
	flag.StringVar(&b.base, "base", "", "base `IMAGE` in place of that of this host's release")
	flag.StringVar(&b.program, "docker", "docker", "Docker's command line")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "pause-build:", err)
		os.Exit(1)
	}
}

type builder struct {
	archive, base string
	program       string // Docker's command line
	dir           string // with the program and the Dockerfile; empty: that of this program
	out           io.Writer

	// docker runs a command of Docker, and returns what it says.
	docker func(ctx context.Context, args ...string) (string, error)
}

func (b *builder) run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("argument %q: want options alone (-h lists them)", args[0])
	}
	if b.dir == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		b.dir = filepath.Dir(self)
	}
	for _, name := range []string{"pause.exe", "Dockerfile"} {
		if _, err := os.Stat(filepath.Join(b.dir, name)); err != nil {
			return fmt.Errorf("look for %s beside this program, where scripts/pause-windows puts it: %w", name, err)
		}
	}
	if b.base == "" {
		build, err := hostBuild()
		if err != nil {
			return fmt.Errorf("read the build of this Windows: %w; name a base image with -base", err)
		}
		if b.base, err = base(build); err != nil {
			return err
		}
	}
	system, err := b.docker(ctx, "version", "--format", "{{.Server.Os}}")
	if err != nil {
		return err
	}
	if system != "windows" {
		return fmt.Errorf("the engine of %s runs containers of %q, want windows", b.program, system)
	}
	if _, err := b.docker(ctx, "build", "--build-arg", "BASE="+b.base, "--tag", image, b.dir); err != nil {
		return err
	}
	if err := b.try(ctx); err != nil {
		return fmt.Errorf("try the image: %w", err)
	}
	_, _ = fmt.Fprintf(b.out, "built %s on %s\n", image, b.base)
	return b.save(ctx)
}

// base is the image to build upon for a build of Windows.
func base(build string) (string, error) {
	if name, known := bases[build]; known {
		return name, nil
	}
	return "", fmt.Errorf("build %q of Windows has no base image here, want one of %s; name one with -base",
		build, strings.Join(slices.Sorted(maps.Keys(bases)), ", "))
}

func (b *builder) command(ctx context.Context, args ...string) (string, error) {
	var said, complained bytes.Buffer
	c := exec.CommandContext(ctx, b.program, args...)
	c.Stdout, c.Stderr = &said, &complained
	if args[0] == "build" { // which takes minutes
		c.Stdout, c.Stderr = b.out, b.out
	}
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", b.program, strings.Join(args, " "), err, strings.TrimSpace(complained.String()))
	}
	return strings.TrimSpace(said.String()), nil
}

// removal is how long the container of the trial may take to go.
const removal = time.Minute

// try starts the image, asks it for routes as the agent does, and stops it.
func (b *builder) try(ctx context.Context) (err error) {
	id, err := b.docker(ctx, "run", "--detach", "--network", "none", image)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removal)
		defer cancel()
		_, e := b.docker(ctx, "rm", "--force", id)
		err = errors.Join(err, e)
	}()
	if _, err := b.docker(ctx, "exec", "--user", "ContainerAdministrator", id, "netsh", "interface", "ipv4", "show", "route"); err != nil {
		return err
	}
	if _, err := b.docker(ctx, "stop", "-t", "30", id); err != nil {
		return err
	}
	log, err := b.docker(ctx, "logs", id)
	if err != nil {
		return err
	}
	if !strings.Contains(log, "shutting down") {
		_, _ = fmt.Fprintln(b.out, "warning: the program was ended by force; tasks with it take Docker's time-out to stop")
	}
	return nil
}

// save writes the archive. It is whole when it is there: the agent may be starting.
func (b *builder) save(ctx context.Context) (err error) {
	if b.archive == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(b.archive), 0o755); err != nil {
		return fmt.Errorf("make the folder of -archive: %w", err)
	}
	part := b.archive + ".part"
	defer func() {
		if e := os.Remove(part); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}()
	if _, err := b.docker(ctx, "save", "--output", part, image); err != nil {
		return err
	}
	if err := os.Rename(part, b.archive); err != nil {
		return fmt.Errorf("put the archive in its place: %w", err)
	}
	_, _ = fmt.Fprintln(b.out, "wrote", b.archive)
	return nil
}
