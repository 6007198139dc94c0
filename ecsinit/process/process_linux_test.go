package process

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const patience = time.Minute

// TestMain is also the process that is stopped: it claims a file, becomes a shell, and
// says when it is one.
func TestMain(m *testing.M) {
	file, script := os.Getenv("PROCESS_FILE"), os.Getenv("PROCESS_SCRIPT")
	if file == "" {
		os.Exit(m.Run())
	}
	err := File(file).Claim()
	if err == nil {
		err = Become("/bin/sh", []string{"-c", script}, os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(3)
}

// start starts the process and waits until its script has begun.
func start(t *testing.T, f File, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0]) // on purpose
	cmd.Env = append(os.Environ(), "PROCESS_FILE="+string(f), "PROCESS_SCRIPT="+script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the process says %q: %v", line, err)
	}
	return cmd
}

func TestStop(t *testing.T) {
	for _, c := range []struct {
		name, script string
		grace        time.Duration
		signal       string
	}{
		{"one that ends", `trap 'exit 0' TERM; echo ready; while :; do read x || sleep 0.05; done`, patience, ""},
		{"one that is deaf", `trap '' TERM; echo ready; while :; do read x || sleep 0.05; done`, time.Second, "killed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := File(filepath.Join(t.TempDir(), "run", "agent.pid"))
			cmd := start(t, f, c.script)
			if pid, err := f.PID(); err != nil || pid != cmd.Process.Pid {
				t.Errorf("process %d, %v; want %d", pid, err, cmd.Process.Pid)
			}
			if was, err := f.Stop(t.Context(), c.grace); err != nil || !was {
				t.Fatalf("stop: %v, %v", was, err)
			}
			err := cmd.Wait()
			if text := fmt.Sprint(err); !strings.Contains(text, c.signal) || c.signal == "" && err != nil {
				t.Errorf("it ended with %v", err)
			}
			if was, err := f.Stop(t.Context(), c.grace); err != nil || was {
				t.Errorf("once more: %v, %v", was, err)
			}
			if err := errors.Join(f.Forget(), f.Forget()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A number that another process has now is nobody's.
func TestAnotherProcess(t *testing.T) {
	f := File(filepath.Join(t.TempDir(), "agent.pid"))
	cmd := start(t, File(filepath.Join(t.TempDir(), "other")), `echo ready; while :; do read x || sleep 0.05; done`)
	for text, bad := range map[string]bool{
		fmt.Sprintf("%d 1\n", cmd.Process.Pid): false, "2147483600 5\n": false, "": true, "agent\n": true, "-1 5\n": true,
	} {
		if err := os.WriteFile(string(f), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if was, err := f.Stop(t.Context(), patience); was || (err != nil) != bad {
			t.Errorf("%q: %v, %v", text, was, err)
		}
	}
	if _, err := startOf(cmd.Process.Pid); err != nil {
		t.Errorf("the other process was ended: %v", err)
	}
}

func TestBecomeNothing(t *testing.T) {
	err := Become(filepath.Join(t.TempDir(), "ecs-agent"), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}

func TestSinceBoot(t *testing.T) {
	a, err := SinceBoot()
	if err != nil || a <= 0 {
		t.Fatal(a, err)
	}
	if b, err := SinceBoot(); err != nil || b < a {
		t.Error(b, err)
	}
}
