package e2e

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ecsagent/tests/harness"
)

// typist is a program on a terminal, and somebody before it.
type typist struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd

	mu      sync.Mutex
	text    bytes.Buffer
	read    int           // how much of it was waited for
	changed chan struct{} // holds one when there is more
	ended   chan struct{}
}

// terminal starts a program on a terminal.
func terminal(t *testing.T, cols, rows uint16, env []string, program string, args ...string) *typist {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	y := &typist{t: t, master: master, changed: make(chan struct{}, 1), ended: make(chan struct{})}
	y.size(cols, rows)
	number := 0
	y.control(func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	y.cmd = exec.Command(program, args...)
	y.cmd.Env, y.cmd.Stdin, y.cmd.Stdout, y.cmd.Stderr = env, slave, slave, slave
	y.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = y.cmd.Start()
	_ = slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	var reader sync.WaitGroup
	reader.Go(y.listen)
	go func() {
		defer close(y.ended)
		_ = y.cmd.Wait() // the state tells
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-y.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = master.Close()
		reader.Wait()
	})
	return y
}

func (y *typist) control(fn func(fd int) error) {
	y.t.Helper()
	raw, err := y.master.SyscallConn()
	if err == nil {
		var failed error
		if err = raw.Control(func(fd uintptr) { failed = fn(int(fd)) }); err == nil {
			err = failed
		}
	}
	if err != nil {
		y.t.Fatal(err)
	}
}

func (y *typist) size(cols, rows uint16) {
	y.t.Helper()
	y.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: cols, Row: rows})
	})
}

func (y *typist) listen() {
	for {
		b := make([]byte, 4096)
		n, err := y.master.Read(b)
		y.mu.Lock()
		y.text.Write(b[:n])
		y.mu.Unlock()
		select {
		case y.changed <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (y *typist) types(text string) {
	y.t.Helper()
	if _, err := io.WriteString(y.master, text); err != nil {
		y.t.Fatal(err)
	}
}

// sees waits until a text appears after the last one that was waited for.
func (y *typist) sees(what string) {
	y.t.Helper()
	limit := time.After(time.Minute)
	for {
		y.mu.Lock()
		all := y.text.String()
		at := strings.Index(all[y.read:], what)
		if at >= 0 {
			y.read += at + len(what)
		}
		y.mu.Unlock()
		if at >= 0 {
			return
		}
		select {
		case <-y.changed:
		case <-limit:
			y.t.Fatalf("%q did not appear on the terminal:\n%s", what, all)
		}
	}
}

// ends waits for the program's end and returns its exit code.
func (y *typist) ends() int {
	y.t.Helper()
	select {
	case <-y.ended:
	case <-time.After(time.Minute):
		y.mu.Lock()
		defer y.mu.Unlock()
		y.t.Fatalf("the program goes on:\n%s", y.text.String())
	}
	return y.cmd.ProcessState.ExitCode()
}

// The AWS CLI opens a shell in a container of the local ECS, on a terminal: its size,
// Ctrl-C, the exit, the end of the container; and ecs-local exec runs a command. The agent
// in the container is the local ECS's, put there and started as the SSM agent is.
func TestExecuteCommand(t *testing.T) {
	const aws = "/usr/bin/aws"
	if _, err := os.Stat(aws); err != nil {
		t.Skip("the AWS CLI is not installed")
	}
	folder := filepath.Join(socketDir(t), "exec")
	e := prepared(t, "ECS_MANAGED_AGENTS_DIR="+folder, "ECS_TASK_LOG_DIR="+filepath.Join(folder, "log"))
	e.LocalArgs = []string{"--exec", folder}
	if err := e.Start(e.ctx); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(folder, "path")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(e.Programs, "ecs-local"), filepath.Join(bin, "session-manager-plugin")); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=thing",
		"AWS_DEFAULT_REGION=us-west-2", "AWS_EC2_METADATA_DISABLED=true", "TERM=dumb", "ECS_LOCAL_ENDPOINT=http://" + e.LocalAddress}

	plain := e.running(bridged(sleeper("app")))
	e.ECS.ExecuteCommand = true
	arn := e.launch(bridged(sleeper("app"), sleeper("side", M{"entryPoint": []string{"sh", "-c"}, "command": []string{"cd /tmp; sleep 3600 & while :; do wait; done"}})))
	if _, err := e.ECS.Await(e.ctx, arn, "its exec agents to run", func(task harness.Task) bool {
		return strings.HasPrefix(task.Container("app").ExecAgent(), "RUNNING") && strings.HasPrefix(task.Container("side").ExecAgent(), "RUNNING")
	}); err != nil {
		t.Fatal(err)
	}
	command := func(task string, more ...string) []string {
		return append([]string{"ecs", "execute-command", "--endpoint-url", "http://" + e.LocalAddress, "--cluster", e.Cluster, "--task", task, "--interactive"}, more...)
	}
	y := terminal(t, 80, 24, env, aws, command(arn, "--container", "app", "--command", "/bin/sh")...)
	y.sees("Starting session with SessionId: ecs-execute-command-")
	y.types("echo $((6*7))-$(id -u); stty size\r")
	y.sees("42-0")
	y.sees("24 80")
	y.size(100, 30)
	// The change travels beside what is typed.
	y.types("while test \"$(stty size)\" != '30 100'; do :; done; echo re\"\"sized\r")
	y.sees("resized")
	// A shell of its own says so: the interrupt finds it in the foreground, whatever it has
	// got to.
	y.types("sh -c 'echo sle\"\"eping; sleep 3600; echo not reached'\r")
	y.sees("sleeping")
	y.types("\x03")
	y.types("echo back-$?\r")
	y.sees("back-130")
	y.types("exit 3\r")
	y.sees("Exiting session with sessionId: ecs-execute-command-")
	equal(t, "the exit code of the AWS CLI", y.ends(), 0)

	id := arn[strings.LastIndexByte(arn, '/')+1:]
	run := exec.CommandContext(e.ctx, filepath.Join(e.Programs, "ecs-local"), "exec", "--cluster", e.Cluster, id[:8], "--container", "side", "--", "sh", "-c", `pwd; echo "it's $0"; exit 5`, "a b")
	run.Env = env
	out, _ := run.Output()
	equal(t, "the exit code of ecs-local exec", run.ProcessState.ExitCode(), 5)
	contains(t, "what the command printed", string(out), "/tmp\r\n", "it's a b\r\n")

	// The container ends under a shell.
	y = terminal(t, 80, 24, env, aws, command(arn, "--container", "app", "--command", "/bin/sh")...)
	y.types("echo th\"\"ere\r")
	y.sees("there")
	e.stop(arn)
	y.sees("ession") // its end has one text or the other: whether the shell or the agent ended first
	y.ends()

	refused := exec.CommandContext(e.ctx, aws, command(plain.TaskARN, "--command", "/bin/sh")...)
	refused.Env = env
	text, err := refused.CombinedOutput()
	if err == nil {
		t.Errorf("a task without ECS Exec took a command: %s", text)
	}
	contains(t, "the refusal", string(text), "InvalidParameterException", "execute command was not enabled")
}
