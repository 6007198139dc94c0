package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Process is a running program. Its output goes to a file.
type Process struct {
	Name string
	Log  string

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// StartProcess runs a program with exactly the environment given. It ends with this
// process, however this one ends.
func StartProcess(name, log, program string, args, env []string) (*Process, error) {
	return StartWithFiles(name, log, program, args, env)
}

// StartWithFiles is StartProcess for a program that inherits files, numbered from 3 on.
func StartWithFiles(name, log, program string, args, env []string, files ...*os.File) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, env
	cmd.ExtraFiles = files
	if err := start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{Name: name, Log: log, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // ExitCode tells
	}()
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ExitCode is the exit status of an ended process; -1 when a signal ended it.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// CPU is the processor time of an ended process.
func (p *Process) CPU() time.Duration {
	<-p.done
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// Kill ends the process the hard way and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop asks the process to end and kills it when it has not after the limit. It
// returns how long the end took.
func (p *Process) Stop(limit time.Duration) (time.Duration, error) {
	begin := time.Now()
	if err := p.Signal(terminate); err != nil {
		return 0, err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return time.Since(begin), nil
	case <-timer.C:
		p.Kill()
		return time.Since(begin), fmt.Errorf("stop %s: still running %v after it was told to end", p.Name, limit)
	}
}

// Tail returns the last lines of the log.
func (p *Process) Tail(lines int) string { return Tail(p.Log, lines) }

// Tail returns the last lines of a file.
func Tail(file string, lines int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Poll asks again and again, with short pauses, until ok says yes or the context
// ends. The last error of ok is part of the answer.
func Poll(ctx context.Context, what string, ok func(context.Context) (bool, error)) error {
	pause := 5 * time.Millisecond
	var last error
	for {
		yes, err := ok(ctx)
		if yes {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(fmt.Errorf("wait for %s: %w", what, ctx.Err()), last)
		case <-timer.C:
		}
		pause = min(pause*2, 100*time.Millisecond)
	}
}
