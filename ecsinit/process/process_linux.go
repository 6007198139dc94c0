package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// File remembers which process the agent is.
type File string

// Claim writes this process into the file. It stays the same process when it becomes
// the agent.
func (f File) Claim() error {
	pid := os.Getpid()
	started, err := startOf(pid)
	if err != nil {
		return fmt.Errorf("remember the agent's process: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(string(f)), 0o700); err != nil {
		return fmt.Errorf("remember the agent's process: %w", err)
	}
	temp := string(f) + ".new"
	if err := os.WriteFile(temp, fmt.Appendf(nil, "%d %s\n", pid, started), 0o600); err != nil {
		return fmt.Errorf("remember the agent's process: %w", err)
	}
	if err := os.Rename(temp, string(f)); err != nil {
		return fmt.Errorf("remember the agent's process: %w", err)
	}
	return nil
}

// Forget removes the file.
func (f File) Forget() error {
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the agent's process: %w", err)
	}
	return nil
}

// PID returns the process, if it runs; 0: none.
func (f File) PID() (int, error) {
	text, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find the agent's process: %w", err)
	}
	first, started, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	pid, err := strconv.Atoi(first)
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("find the agent's process: %q holds %q: want a process id and its start", string(f), text)
	}
	// Another process may have got the number since.
	if now, err := startOf(pid); err != nil || now != started {
		return 0, nil
	}
	return pid, nil
}

// Stop asks the process to end, waits, and kills it when the grace is over. It reports
// whether there was one.
func (f File) Stop(ctx context.Context, grace time.Duration) (was bool, err error) {
	return f.end(ctx, grace, unix.SIGTERM, unix.SIGKILL)
}

// killWait is how long a killed process may take to be gone.
const killWait = 10 * time.Second

// Kill kills the process and waits. It reports whether there was one.
func (f File) Kill(ctx context.Context) (was bool, err error) {
	return f.end(ctx, killWait, unix.SIGKILL)
}

func (f File) end(ctx context.Context, grace time.Duration, signals ...unix.Signal) (was bool, err error) {
	pid, err := f.PID()
	if err != nil || pid == 0 {
		return false, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("stop process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	// From here on it is the process that is held; it is that of the file only if that
	// still holds.
	if again, err := f.PID(); err != nil || again != pid {
		return false, err
	}
	for _, sig := range signals {
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return true, fmt.Errorf("stop process %d: %w", pid, err)
		}
		ended, err := await(ctx, fd, grace)
		if err != nil {
			return true, fmt.Errorf("stop process %d: %w", pid, err)
		}
		if ended {
			return true, nil
		}
	}
	return true, fmt.Errorf("stop process %d: it does not end even when killed", pid)
}

// await waits until the process of a descriptor has ended.
func await(ctx context.Context, fd int, limit time.Duration) (ended bool, err error) {
	// The kernel tells of the end on this descriptor only: an end of ctx is looked for
	// between short waits.
	const look = 100 * time.Millisecond
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(look.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, err
		}
		if n > 0 {
			return true, nil
		}
	}
	return false, nil
}

// startOf is when a process started, in ticks since the host did: field 22 of its stat,
// counted behind the name, which may hold anything. One that has ended and was not
// collected is none.
func startOf(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(text[max(0, strings.LastIndexByte(string(text), ')')):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat is short", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return "", fs.ErrNotExist
	}
	return fields[19], nil
}

// Become turns this process into a program.
func Become(program string, args, environ []string) error {
	if err := unix.Exec(program, append([]string{filepath.Base(program)}, args...), environ); err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	return nil
}

// SinceBoot is the time since the host was started, sleep included.
func SinceBoot() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return time.Duration(t.Nano()), nil
}
