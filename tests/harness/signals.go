package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// termBit is SIGTERM in the masks of /proc/PID/status.
const termBit = 1 << 14

// HeedsTerm reports whether a process of the host has said what it does with SIGTERM.
// The kernel drops that signal for the first process of a container that has not: a stop
// in its first moments would wait for its time-out.
func HeedsTerm(pid int) (bool, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false, fmt.Errorf("look at a container's process: %w", err)
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
}
