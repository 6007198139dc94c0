package app

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"ecsagent/agent/doctor"
)

func TestSystemdIsTold(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("systemd is one of Linux")
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", "")
	t.Setenv("AMAZON_ECS_INIT_NOTE", "update 2 is\nnot in use")
	read := func() string {
		_ = l.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 1000)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	m := newManager(func(context.Context) error { return nil }, zaptest.NewLogger(t))
	if m == nil || m.every != 10*time.Second {
		t.Fatalf("%+v", m)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	got := []string{read()}
	go func() { done <- m.run(ctx) }()
	got = append(got, read(), read())
	m.status("prod", &doctor.Report{Number: 1, Checks: []doctor.Result{{Findings: []doctor.Finding{doctor.DiskFull.Found("x")}}}})
	got = append(got, read())
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	got = append(got, read())
	lastWords("ended", nil, ExitOK)
	lastWords("cannot start", errors.New("no disk\nREADY=1"), ExitTerminal)
	got = append(got, read())
	want := []string{"STATUS=starting", "READY=1", "WATCHDOG=1", "STATUS=cluster prod: A disk is full; update 2 is not in use", "STOPPING=1", "STATUS=cannot start: no disk READY=1"}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestNobodyIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	m := newManager(nil, zaptest.NewLogger(t))
	if m != nil {
		t.Fatalf("%+v", m)
	}
	m.status("prod", &doctor.Report{}) // does nothing
}

// One that hangs gives no sign of life, and gives it again when it works again.
func TestWatchdogNeedsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		var hangs atomic.Bool
		m := &manager{
			every: 10 * time.Second, log: zap.NewNop(),
			send: func(state string) (bool, error) { told = append(told, state); return true, nil },
			alive: func(ctx context.Context) error {
				if hangs.Load() {
					<-ctx.Done()
					return errors.New("hangs")
				}
				return nil
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.run(ctx) }()
		time.Sleep(25 * time.Second)
		hangs.Store(true)
		time.Sleep(time.Minute)
		hangs.Store(false)
		time.Sleep(20 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := strings.Count(strings.Join(told, "\n"), "WATCHDOG=1"); n < 4 || n > 6 || told[0] != "READY=1" || told[len(told)-1] != "STOPPING=1" {
			t.Errorf("told %q", told)
		}
	})
}

func TestSparing(t *testing.T) {
	now := time.Unix(1e9, 0)
	asked := 0
	var problems []string
	ask := sparing(func(context.Context) ([]string, error) { asked++; return problems, nil }, func() time.Time { return now })
	for range 10 {
		_, _ = ask(t.Context())
		now = now.Add(time.Minute)
	}
	if asked != 2 {
		t.Errorf("asked %d times in ten minutes", asked)
	}
	problems = []string{"x"}
	now = now.Add(5 * time.Minute)
	for range 3 { // what is wrong is looked at again each time
		_, _ = ask(t.Context())
	}
	if asked != 5 {
		t.Errorf("asked %d times", asked)
	}
}

func TestDiskUsage(t *testing.T) {
	u, device, err := diskUsage(t.TempDir())
	if err != nil || device == "" || u.Total == 0 || u.Free > u.Total {
		t.Errorf("%+v, %q, %v", u, device, err)
	}
	if _, _, err := diskUsage(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a directory that is not there has a disk")
	}
}
