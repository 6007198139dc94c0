package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// maxOutput bounds what is kept of a command's output.
const maxOutput = 1 << 20

// RunIn runs a program in a network namespace, by the namespace's path; empty is this
// process's own. The exit status is for a program that ran to its end.
func RunIn(ctx context.Context, namespace string, args []string, stdin string) (output []byte, exit int, err error) {
	if namespace != "" {
		args = append([]string{"nsenter", "--net=" + namespace}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second // children may hold the pipe
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	var out limited
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, 0, fmt.Errorf("run %s: %w", args[0], ctx.Err())
	case errors.As(err, &ended):
		return out.Bytes(), ended.ExitCode(), nil
	case err != nil:
		return nil, 0, fmt.Errorf("run %s: %w", args[0], err)
	}
	return out.Bytes(), 0, nil
}

// limited keeps the beginning of what is written.
type limited struct{ bytes.Buffer }

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if room := maxOutput - l.Len(); room > 0 {
		_, _ = l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// faultToolLimit bounds each look at the tools for faults (docs/spec/04 section 5.8).
const faultToolLimit = time.Minute

// FaultTools reports whether everything that network faults need is here: the programs,
// the kernel's netem, and a tc that lists queues as JSON.
func FaultTools(ctx context.Context, ipv6Only bool, device string) error {
	tools := []string{"iptables", "iptables-restore", "tc", "nsenter"}
	if ipv6Only {
		tools = append(tools, "ip6tables", "ip6tables-restore")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	for _, args := range [][]string{{"modinfo", "sch_netem"}, {"tc", "-j", "qdisc", "show", "dev", device}} {
		ctx, cancel := context.WithTimeout(ctx, faultToolLimit)
		_, exit, err := RunIn(ctx, "", args, "")
		cancel()
		if err == nil && exit != 0 {
			err = fmt.Errorf("%s: exit status %d", strings.Join(args, " "), exit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
