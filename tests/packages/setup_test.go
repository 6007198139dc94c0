package packages

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// limit is how long one command on the system may take.
const limit = 3 * time.Minute

// host is DOCKER_HOST of the engine; without one nothing runs here.
func host(t *testing.T) string {
	t.Helper()
	h := os.Getenv("ECS_TEST_DOCKER_HOST")
	if h == "" {
		t.Skip("ECS_TEST_DOCKER_HOST is not set; make test sets it")
	}
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	return h
}

// run runs a command in the root of the source tree and returns what it printed.
func run(ctx context.Context, stdin string, env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out.String(), told.String())
	}
	return out.String(), nil
}

// build makes packages in a folder.
func build(ctx context.Context, dir, archs, formats string, env ...string) error {
	_, err := run(ctx, "", env, "make", "-s", "package", "OUT="+dir, "ARCHS="+archs, "FORMATS="+formats, "MAKEFLAGS=")
	return err
}

// built are the packages of this machine, made once for all tests.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// packages is where the packages are: ECS_TEST_PACKAGES, or where they are built.
func packages(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("ECS_TEST_PACKAGES"); dir != "" {
		return dir
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "ecsagent-packages-"); built.err == nil {
			built.err = build(context.Background(), built.dir, runtime.GOARCH, "deb rpm image")
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range []string{built.dir, made.dir} {
		if dir != "" {
			_ = os.RemoveAll(dir)
		}
	}
	os.Exit(code)
}

// made are ecs-local and an agent of another version, made once for all tests.
var made struct {
	once sync.Once
	dir  string
	err  error
}

// updated is the version of an agent that works and comes as an update.
const updated = "9.0.0"

// program is the path of one of them.
func program(t *testing.T, name string) string {
	t.Helper()
	made.once.Do(func() {
		if made.dir, made.err = os.MkdirTemp("", "ecsagent-programs-"); made.err == nil {
			_, made.err = run(context.Background(), "", []string{"CGO_ENABLED=0"}, "go", "build", "-ldflags", "-s -w -X ecsagent/agent/version.number="+updated,
				"-o", made.dir+"/", "./agent/cmd/ecs-agent", "./controlplane/cmd/ecs-local")
		}
	})
	if made.err != nil {
		t.Fatal(made.err)
	}
	return filepath.Join(made.dir, name)
}

// find returns the only file of a pattern.
func find(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %q, %v", pattern, files, err)
	}
	return files[0]
}

// system is a container in which systemd runs.
type system struct {
	t     *testing.T
	host  string
	name  string
	image string
	// ready is the script that waits until it has started.
	ready string
}

// systems counts those of this process.
var systems atomic.Int32

// image is what systems are made from, in Docker under a name that changes with it.
var image = sync.OnceValues(func() (string, error) {
	ctx := context.Background()
	archive, err := run(ctx, "", nil, "scripts/system-root")
	if err != nil {
		return "", err
	}
	archive = strings.TrimSpace(archive)
	name := "ecsagent-system:" + strings.TrimSuffix(filepath.Base(archive), ".tar")
	engine := "DOCKER_HOST=" + os.Getenv("ECS_TEST_DOCKER_HOST")
	if _, err := run(ctx, "", []string{engine}, "docker", "image", "inspect", name); err != nil {
		if _, err := run(ctx, "", []string{engine}, "docker", "import", archive, name); err != nil {
			return "", err
		}
	}
	return name, nil
})

// withoutCloudInit is the file that keeps cloud-init from being started.
const withoutCloudInit = "/etc/cloud/cloud-init.disabled"

// boot starts a system without a network. Engine is where it finds the Docker engine, as
// /engine.sock; files are copied to where they are found when it starts.
func boot(t *testing.T, engine string, files map[string]string) *system {
	t.Helper()
	socket, ok := strings.CutPrefix(engine, "unix://")
	if !ok {
		t.Skipf("the engine %s has no socket that could be passed on", engine)
	}
	from, err := image()
	if err != nil {
		t.Fatal(err)
	}
	s := &system{t, engine, fmt.Sprintf("ecsagent-system-%d-%d", os.Getpid(), systems.Add(1)), from, booted}
	args := []string{"create", "--name", s.name, "--network", "none", "--hostname", "instance",
		"--cgroupns", "private", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--security-opt", "systempaths=unconfined",
		"--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec", "--tmpfs", "/sys/fs/cgroup",
		"--volume", socket + ":/engine.sock", "--stop-signal", "SIGRTMIN+3", "--env", "container=docker"}
	for _, c := range []string{"SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_NICE", "DAC_READ_SEARCH", "SYSLOG"} { // not all of them exist everywhere
		args = append(args, "--cap-add", c)
	}
	t.Cleanup(s.remove)
	s.docker(append(args, s.image, "/sbin/init")...)
	off := filepath.Join(t.TempDir(), "off")
	if err := os.WriteFile(off, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.docker("cp", off, s.name+":"+withoutCloudInit)
	for file, at := range files {
		s.docker("cp", file, s.name+":"+at)
	}
	s.docker("start", s.name)
	s.sh(s.ready)
	return s
}

// reboot stops and starts the system.
func (s *system) reboot() {
	s.t.Helper()
	s.docker("restart", "--time", "100", s.name)
	s.sh(s.ready)
}

// booted waits until a system has started.
const booted = `await '[[ $(systemctl is-system-running 2>/dev/null || true) =~ ^(running|degraded)$ ]]'`

func (s *system) remove() {
	if s.t.Failed() {
		text, _ := run(context.Background(), "", nil, "docker", "--host", s.host, "exec", s.name, "sh", "-c",
			"systemctl --no-pager list-jobs; systemctl --no-pager --full status ecs ecs-local; journalctl --no-pager -n 100; cat /var/log/ecs/*.log | tail -n 60")
		s.t.Log(text)
	}
	if _, err := run(context.Background(), "", nil, "docker", "--host", s.host, "rm", "--force", "--volumes", s.name); err != nil {
		s.t.Log(err)
	}
}

func (s *system) docker(args ...string) string {
	s.t.Helper()
	out, err := run(s.t.Context(), "", nil, "docker", append([]string{"--host", s.host}, args...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// prelude is known to every script.
const prelude = `
await() { # CONDITION: until it holds, for a minute
	for _ in $(seq 300); do eval "$1" && return; sleep 0.2; done
	echo "this never came true: $1"; exit 1
}
is() { [ "$2" = "$3" ] || { echo "$1: have '$2', want '$3'"; exit 1; }; }
has() { case $2 in *"$3"*) ;; *) echo "$1: '$2' does not say '$3'"; exit 1;; esac; }
rules() { { iptables-save; ip6tables-save; nft list ruleset; } 2>/dev/null | grep -E -- '^-A |comment|51678|51679|169[.]254' || true; }
localnet() { cat /proc/sys/net/ipv4/conf/all/route_localnet; }
ask() { exec 3<>/dev/tcp/127.0.0.1/51678; printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&3; cat <&3; exec 3>&-; }
containers() { ask /v1/tasks | grep -oE '"DockerId":"[0-9a-f]+"'; }
instance() { ask /v1/metadata | grep -o '"ContainerInstanceArn":"[^"]*"'; }
task() { /ecs-local ps --output json 2>/dev/null; }
plugin() { # PATH BODY: what the volume plugin answers
	perl -MIO::Socket::UNIX -e '
		my $s = IO::Socket::UNIX->new(Peer => "/run/docker/plugins/amazon-ecs-volume-plugin.sock") or die "connect: $!\n";
		printf $s "POST /%s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", $ARGV[0], length $ARGV[1], $ARGV[1];
		local $/; my $answer = <$s>; $answer =~ s/.*?\r\n\r\n//s; print $answer' "$@"
}
`

// sh runs a script on the system.
func (s *system) sh(script string) string {
	s.t.Helper()
	out, err := run(s.t.Context(), prelude+script, nil, "docker", "--host", s.host, "exec", "--interactive", s.name, "bash", "-euo", "pipefail", "-s")
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// step is a part of a test that goes on on one system.
type step struct {
	name, script string
	reboot       bool // before the script
}

// walk takes one step after the other; each needs those before it.
func (s *system) walk(steps []step) {
	for _, step := range steps {
		if !s.t.Run(step.name, func(t *testing.T) {
			on := *s
			on.t = t
			if step.reboot {
				on.reboot()
			}
			on.sh(step.script)
		}) {
			return
		}
	}
}
