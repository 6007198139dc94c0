package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"ecsagent/tests/harness"
)

// eventually polls a question of the engine or the files and fails the test when
// the answer stays no for d.
func (e *env) eventually(d time.Duration, what string, ok func() (bool, error)) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, d)
	defer cancel()
	err := harness.Poll(ctx, what, func(context.Context) (bool, error) {
		yes, err := ok()
		if err != nil {
			return false, err
		}
		if !yes {
			return false, fmt.Errorf("not yet: %s", what)
		}
		return true, nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
}

// termBit is SIGTERM in the masks of /proc/PID/status.
const termBit = 1 << 14

// minds waits until a container's process has said what it does with SIGTERM. The
// kernel drops that signal for a first process that has not; a stop in the first
// moments of a container would wait for its time-out.
func minds(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_ = harness.Poll(ctx, "a handler", func(ctx context.Context) (bool, error) { // some containers never have one
		info, err := shared.docker.ContainerInspect(ctx, id)
		if err != nil || !info.State.Running {
			return true, err
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", info.State.Pid))
		if err != nil {
			return false, err
		}
		if strings.HasPrefix(string(status), "Name:\trunc") { // not yet the container's program
			return false, nil
		}
		for line := range strings.Lines(string(status)) {
			name, mask, _ := strings.Cut(strings.TrimSpace(line), ":\t")
			bits, err := strconv.ParseUint(mask, 16, 64)
			if (name == "SigCgt" || name == "SigIgn") && err == nil && bits&termBit != 0 {
				return true, nil
			}
		}
		return false, nil
	})
}
