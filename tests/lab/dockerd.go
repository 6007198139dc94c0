package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	docker "github.com/docker/docker/client"

	"ecsagent/tests/harness"
)

// Dockerd is a Docker engine of a test's own, which it may kill and replace.
type Dockerd struct {
	Host   string // DOCKER_HOST
	dir    string
	script string // scripts/engine

	mu      sync.Mutex
	command []string // how it was started, once it was killed
}

// StartDockerd starts an engine that keeps everything below a folder. scripts is the
// folder of the module's scripts. It needs root.
func StartDockerd(dir, scripts string) (*Dockerd, error) {
	d := &Dockerd{dir: dir, script: filepath.Join(scripts, "engine")}
	return d, d.Start()
}

// Start starts the engine anew. Where it was killed, the processes of its containers are
// ended before, as after a crash of the host.
func (d *Dockerd) Start() error {
	out, err := d.run("start")
	d.Host = strings.TrimSpace(out)
	return err
}

// Purge ends the engine and removes everything that it kept.
func (d *Dockerd) Purge() error {
	_, err := d.run("purge")
	return err
}

func (d *Dockerd) run(command string) (string, error) {
	cmd := exec.Command(d.script, command) // it ends by itself
	cmd.Env = append(os.Environ(), "ECSAGENT_ENGINE_DIR="+d.dir, "ECSAGENT_ENGINE_PRIVATE=1", "DOCKER_HOST=")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", d.script, command, err, errs.String())
	}
	return string(out), nil
}

// Kill ends the engine as kill -9 does, the containerd that it started included. The
// processes of its containers go on.
func (d *Dockerd) Kill() error {
	pid, err := pidIn(filepath.Join(d.dir, "docker.pid"))
	if err != nil {
		return err
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return fmt.Errorf("find the engine: %w", err)
	}
	for _, file := range []string{"docker.pid", filepath.Join("exec", "containerd", "containerd.pid")} {
		file = filepath.Join(d.dir, file)
		pid, err := pidIn(file)
		if err != nil {
			return err
		}
		process, err := os.FindProcess(pid)
		if err == nil {
			err = process.Kill()
		}
		if err != nil && !errors.Is(err, os.ErrProcessDone) { // containerd ends with dockerd
			return fmt.Errorf("kill the engine: %w", err)
		}
		// The next engine would take a process that nobody has waited for yet for one that runs.
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("kill the engine: %w", err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.command = strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	return nil
}

func pidIn(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("find the engine: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("find the engine: process %q in %s: %w", text, file, err)
	}
	return pid, nil
}

// Relaunch starts the engine after Kill as a service manager does: nothing is cleaned up
// before, and one that gives up is started again. adopt says whether it keeps the
// containers that still run (live-restore), or stops them. It returns when the engine
// answers.
func (d *Dockerd) Relaunch(ctx context.Context, adopt bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.command) == 0 {
		return errors.New("relaunch the engine: it was not killed")
	}
	settings := fmt.Sprintf(`{"live-restore": %t}`, adopt)
	if err := os.WriteFile(filepath.Join(d.dir, "daemon.json"), []byte(settings), 0o600); err != nil {
		return fmt.Errorf("relaunch the engine: %w", err)
	}
	cli, err := docker.NewClientWithOpts(docker.WithHost(d.Host), docker.WithAPIVersionNegotiation())
	if err != nil {
		return fmt.Errorf("relaunch the engine: %w", err)
	}
	defer cli.Close()
	var p *harness.Process
	err = harness.Poll(ctx, "the engine to answer again", func(ctx context.Context) (bool, error) {
		if p == nil || !p.Running() {
			var err error
			if p, err = harness.StartProcess("dockerd", filepath.Join(d.dir, "dockerd.log"), d.command[0], d.command[1:], os.Environ()); err != nil {
				return false, err
			}
		}
		_, err := cli.Ping(ctx)
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, harness.Tail(filepath.Join(d.dir, "dockerd.log"), 20))
	}
	return nil
}

// Namespaces lists the network namespaces that the engine holds for containers.
func (d *Dockerd) Namespaces() ([]string, error) {
	all, err := filepath.Glob(filepath.Join(d.dir, "exec", "netns", "*"))
	return slices.DeleteFunc(all, func(file string) bool {
		return filepath.Base(file) == "default" || !HoldsNamespace(file)
	}), err
}

// HoldsNamespace reports whether a namespace is kept by a mount on a file. An engine
// leaves the bare file for a minute after the namespace is gone.
func HoldsNamespace(file string) bool {
	file, err := filepath.EvalSymlinks(file)
	if err != nil {
		return false
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && strings.Contains(string(mounts), " "+file+" ")
}
