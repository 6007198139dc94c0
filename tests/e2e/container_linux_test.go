package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"ecsagent/ecsinit/container"
	"ecsagent/tests/harness"
)

// The agent as a container, which ecs-init looks after: ready when the agent is, its tasks
// outlive it, and its end is ecs-init's.
func TestAgentInAContainer(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("ecs-init needs root")
	}
	name := "ecs-agent-" + randomHex()
	image := "ecsagent:" + strings.ToLower(randomHex())
	e := prepared(t, "ECS_AGENT_CONTAINER_IMAGE="+image)
	programs := filepath.Join(e.Dir, "image")
	for _, args := range [][]string{
		{"go", "build", "-o", programs + "/", "ecsagent/ecsinit/cmd/ecs-init", "ecsagent/cni/cmd/ecs-cni"},
		{"cp", filepath.Join(shared.programs, "ecs-agent"), filepath.Join(shared.programs, harness.PauseArchive), programs},
		{"go", "run", "ecsagent/packaging/agentimage", "-programs", programs, "-version", strings.TrimPrefix(image, "ecsagent:"), "-arch", runtime.GOARCH, "-o", filepath.Join(e.Dir, "agent.tar")},
	} {
		if out, err := exec.CommandContext(e.ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	engine, err := container.NewEngine(e.DockerHost)
	if err != nil {
		t.Fatal(err)
	}
	if err := (container.Agent{Image: image}).Prepare(e.ctx, engine, filepath.Join(e.Dir, "agent.tar")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the container is gone by then, or goes with its image
		_ = exec.Command("docker", "--host", shared.host, "rm", "--force", name).Run()
		if out, err := exec.Command("docker", "--host", shared.host, "rmi", "--force", image).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(e.Dir, "manager"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	e.Options.Agent = append(e.Options.Agent, "NOTIFY_SOCKET="+filepath.Join(e.Dir, "manager"), "WATCHDOG_USEC=3000000")
	e.Program = []string{filepath.Join(programs, "ecs-init"), "start", "--container", name, "--run-dir", filepath.Join(e.Dir, "init")}
	hears := func(what string) {
		t.Helper()
		_ = manager.SetReadDeadline(time.Now().Add(time.Minute))
		for message := make([]byte, 4096); ; {
			n, err := manager.Read(message)
			if err != nil {
				t.Fatalf("the service manager hears no %q: %v\n%s", what, err, e.Agent.Tail(20))
			}
			if strings.Contains(string(message[:n]), what) {
				return
			}
		}
	}
	inspect := func(format, of string) string {
		t.Helper()
		out, err := exec.CommandContext(e.ctx, "docker", "--host", shared.host, "inspect", "--format", format, of).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}

	if err := e.Start(e.ctx); err != nil {
		t.Fatal(err)
	}
	hears("READY=1")
	hears("WATCHDOG=1")
	equal(t, "image", inspect("{{.Config.Image}} {{.State.Running}}", name), image+" true")
	task := e.running(bridged(sleeper("app")))
	id := task.Container("app").RuntimeID

	if err := e.Agent.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hears("STOPPING=1")
	equal(t, "exit code when stopped", e.Agent.ExitCode(), 0)
	equal(t, "the agent's container", inspect("{{.State.Running}} {{.State.ExitCode}}", name), "false 0")
	equal(t, "the task's container", inspect("{{.State.Running}}", id), "true")

	if err := e.StartAgent(); err != nil {
		t.Fatal(err)
	}
	hears("READY=1")
	if _, err := e.AwaitAgent(e.ctx); err != nil {
		t.Fatal(err)
	}
	equal(t, "container after the restart", e.awaits(task.TaskARN, "RUNNING").Container("app").RuntimeID, id)
	e.stop(task.TaskARN)
	if out, err := exec.CommandContext(e.ctx, "docker", "--host", shared.host, "kill", name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	equal(t, "exit code when killed", e.Agent.ExitCode(), 137)
}
