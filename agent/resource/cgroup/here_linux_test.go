package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ecsagent/agent/task"
)

// here is a Manager on this machine's cgroups, made by hand as Docker's cgroupfs
// driver does.
func here(t *testing.T, set Settings) *Manager {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	m := New(Options{Path: mount, Driver: string(Cgroupfs), Settings: set})
	err := m.Init(t.Context())
	if err != nil && writable() {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("cgroups cannot be written: %v", err)
	}
	return m
}

func writable() bool {
	for _, dir := range []string{mount, mount + "/memory"} {
		probe := path.Join(dir, "ecs-test-"+strconv.Itoa(os.Getpid()))
		if _, err := os.Stat(path.Join(dir, "cgroup.procs")); err == nil && os.Mkdir(probe, 0o755) == nil {
			return os.Remove(probe) == nil
		}
	}
	return false
}

// newTask is a task that no other test and no other run uses.
func newTask(t *testing.T, m *Manager, cpu float64, memory int64) *task.Spec {
	t.Helper()
	s := &task.Spec{ARN: fmt.Sprintf("arn:aws:ecs:x:1:task/demo/test-%d-%d", os.Getpid(), time.Now().UnixNano()), CPU: cpu, Memory: memory}
	t.Cleanup(func() {
		if err := m.Remove(contextOf(t), s); err != nil {
			t.Error(err)
		}
	})
	return s
}

// in is the directory of the task's cgroup that holds a controller's files.
func in(t *testing.T, m *Manager, s *task.Spec, controller string) string {
	t.Helper()
	base := m.opt.Path
	if m.Layout().Version == 1 {
		base = path.Join(base, controller)
	}
	return path.Join(base, m.Layout().dir(s.ID()))
}

func (m *Manager) read(t *testing.T, s *task.Spec, name string) string {
	t.Helper()
	controller, _, _ := strings.Cut(name, ".")
	data, err := os.ReadFile(path.Join(in(t, m, s, controller), name))
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(data))
}

func TestHere(t *testing.T) {
	m := here(t, Settings{Pids: 20})
	s := newTask(t, m, 0.5, 64)
	for range 2 {
		if _, err := m.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000", "memory.limit_in_bytes": "67108864", "pids.max": "20"}
	if m.Layout().Version == 2 {
		want = map[string]string{"cpu.max": "50000 100000", "memory.max": "67108864", "pids.max": "20"}
	}
	for file, value := range want {
		if got := m.read(t, s, file); got != value {
			t.Errorf("%s is %q, want %q", file, got, value)
		}
	}
	if ids, err := m.List(t.Context()); err != nil || !slices.Contains(ids, s.ID()) {
		t.Errorf("listed %q, %v", ids, err)
	}

	// A container is a cgroup below the task's, with a process.
	child := path.Join(in(t, m, s, "memory"), "container")
	if err := os.Mkdir(child, 0o755); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), "sleep", "60")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path.Join(child, "cgroup.procs"), []byte(strconv.Itoa(run.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(t.Context(), s); !errors.Is(err, ErrBusy) {
		t.Errorf("remove while in use: %v", err)
	}
	if got := m.read(t, s, "pids.max"); got != "20" {
		t.Errorf("after that pids.max is %q", got)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	if pids, err := m.KillRest(s.ID()); err != nil || !slices.Equal(pids, []int{run.Process.Pid}) {
		t.Errorf("killed %v, want process %d: %v", pids, run.Process.Pid, err)
	}
	var exit *exec.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the process ended with %v, want SIGKILL", err)
	}
	for range 2 {
		if err := m.Remove(t.Context(), s); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	hs, err := m.driver.(interface{ mounts() ([]hierarchy, error) }).mounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hs {
		if _, err := os.Stat(path.Join(h.dir, m.Layout().dir(s.ID()))); !os.IsNotExist(err) {
			t.Errorf("in %s the cgroup is left: %v", h.dir, err)
		}
	}
}

// A task without a quota weighs as its containers do together.
func TestHereShares(t *testing.T) {
	m := here(t, Settings{})
	s := newTask(t, m, 0, 0)
	s.Containers = shares(512, 0, 510)
	if _, err := m.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	file, want := "cpu.shares", "1024"
	if m.Layout().Version == 2 {
		file, want = "cpu.weight", "100"
	}
	if got := m.read(t, s, file); got != want {
		t.Errorf("%s is %q, want %q", file, got, want)
	}
}
