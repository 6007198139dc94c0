package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	docker "github.com/docker/docker/client"

	"ecsagent/tests/harness"
)

// apart is a host whose mounts are a test's own: namespaces in which a Docker engine runs
// that has neither the plugins nor the mounts of another.
type apart struct {
	t      *testing.T
	dir    string // the same inside and outside
	space  string // /proc/PID/ns of a process inside
	host   string // DOCKER_HOST of the engine
	docker *docker.Client
	image  string // in the engine: it reaches no registry
}

func newApart(t *testing.T) *apart {
	t.Helper()
	if shared.host == "" {
		t.Skip("ECS_TEST_DOCKER_HOST is not set; make test sets it")
	}
	if os.Getuid() != 0 {
		t.Skip("an engine of one's own needs root")
	}
	a := &apart{t: t, dir: socketDir(t)}
	const prepare = `ip link set lo up; mkdir -p /run/docker /mnt /var/lib/ecs; mount -t tmpfs none /run/docker; mount -t tmpfs none /mnt
		mount -t tmpfs none /var/lib/ecs; mkdir /run/docker/plugins; echo ready; exec sleep infinity`
	p, err := harness.StartProcess("host", a.in("host.log"), "unshare", []string{"--mount", "--net", "--propagation", "private", "sh", "-euc", prepare}, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	a.space = "/proc/" + strconv.Itoa(p.PID()) + "/ns/"
	a.await("the namespaces to be prepared", p, func(context.Context) (bool, error) { return strings.Contains(p.Tail(1), "ready"), nil })
	a.startEngine()
	a.image = loadTools(t, a.docker)
	return a
}

func (a *apart) in(name string) string { return filepath.Join(a.dir, name) }

// inside is a command line that runs a program on the host.
func (a *apart) inside(program ...string) []string {
	return append([]string{"nsenter", "--mount=" + a.space + "mnt", "--net=" + a.space + "net"}, program...)
}

// process starts a program on the host; its process id is the program's.
func (a *apart) process(name string, program ...string) *harness.Process {
	a.t.Helper()
	line := a.inside(program...)
	p, err := harness.StartProcess(name, a.in(name+".log"), line[0], line[1:], os.Environ())
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

// sh runs a shell script on the host and returns what it printed.
func (a *apart) sh(script string) string {
	a.t.Helper()
	line := a.inside("sh", "-euc", script)
	out, err := exec.CommandContext(a.t.Context(), line[0], line[1:]...).CombinedOutput()
	if err != nil {
		a.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func (a *apart) await(what string, p *harness.Process, is func(context.Context) (bool, error)) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	err := harness.Poll(ctx, what, func(ctx context.Context) (bool, error) {
		if p != nil && !p.Running() {
			cancel()
		}
		return is(ctx)
	})
	if err != nil && p != nil {
		a.t.Fatalf("%v\n%s", err, p.Tail(20))
	} else if err != nil {
		a.t.Fatal(err)
	}
}

func (a *apart) startEngine() {
	a.t.Helper()
	if err := os.WriteFile(a.in("daemon.json"), []byte("{}"), 0o600); err != nil {
		a.t.Fatal(err)
	}
	a.host = "unix://" + a.in("d.sock")
	name := filepath.Base(a.dir)
	p := a.process("dockerd", "dockerd", "--host", a.host, "--data-root", a.in("data"), "--exec-root", a.in("exec"), "--pidfile", a.in("pid"),
		"--config-file", a.in("daemon.json"), "--storage-driver", "vfs", "--shutdown-timeout", "5", "--bridge", "none", "--iptables=false", "--ip6tables=false",
		"--containerd-namespace", name, "--containerd-plugins-namespace", name+"-plugins")
	a.t.Cleanup(func() {
		if a.t.Failed() {
			a.t.Logf("--- dockerd's log\n%s", p.Tail(20))
		}
		if _, err := p.Stop(patience); err != nil {
			a.t.Error(err)
		}
	})
	var err error
	if a.docker, err = docker.NewClientWithOpts(docker.WithHost(a.host), docker.WithAPIVersionNegotiation()); err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = a.docker.Close() })
	a.await("the engine to answer", p, func(ctx context.Context) (bool, error) {
		_, err := a.docker.Ping(ctx)
		return err == nil, err
	})
}

// mounted reports whether something is mounted on a path of the host.
func (a *apart) mounted(path string) bool {
	a.t.Helper()
	return strings.Contains(a.sh("cat /proc/self/mountinfo"), " "+path+" ")
}

// efsHelper is a stand-in for the mount helper of EFS: the file systems are folders below
// fs. One with a file ID.refuse is refused with its words; one with a FIFO ID.hold writes
// "ID" to the file held, and waits until somebody writes to the FIFO.
const efsHelper = `#!/bin/sh
cd "${0%/*}"
echo "$*" >>calls
while [ $# -gt 2 ]; do shift; done
id=${1%%:*}
[ ! -e $id.refuse ] || { cat $id.refuse >&2; exit 32; }
[ ! -p $id.hold ] || { echo $id >>held; cat $id.hold >/dev/null; }
mkdir -p fs/$id
exec mount --bind fs/$id "$2"
`

// plugin is the volume plugin on the host.
type plugin struct {
	*apart
	*harness.Process
}

// volumes is where the plugin mounts.
func (a *apart) volumes() string { return "/var/lib/ecs/volumes" }

func (a *apart) startPlugin(more ...string) *plugin {
	a.t.Helper()
	if err := os.WriteFile(a.in("mount"), []byte(efsHelper), 0o755); err != nil {
		a.t.Fatal(err)
	}
	p := a.process("plugin", append([]string{
		filepath.Join(shared.programs, "ecs-init"), "volume-plugin", "--mount", a.in("mount"), "--mount-limit", "3s", "--log-file", "",
	}, more...)...)
	a.t.Cleanup(func() {
		if a.t.Failed() {
			a.t.Logf("--- plugin's log\n%s", p.Tail(40))
		}
		p.Kill()
	})
	return &plugin{a, p}
}
