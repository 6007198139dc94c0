package main

import (
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// timerSlack is how much later than asked for the kernel may wake the daemon's threads.
// Go's own watch over its threads sleeps for 20 microseconds at a time while any of them
// works, which is a fifth of the daemon's processor time with the kernel's 50 µs; no
// timer of the daemon's is finer than this.
const timerSlack = 250 * time.Microsecond

// calmTimers gives the threads that are there the slack, and with it those they start. The
// kernel lets root do that for a thread that runs already; where it refuses, as without
// CAP_SYS_NICE, the daemon only uses more processor time.
func calmTimers() {
	threads, _ := filepath.Glob("/proc/self/task/*")
	for _, t := range threads {
		_ = os.WriteFile(filepath.Join("/proc", filepath.Base(t), "timerslack_ns"), strconv.AppendInt(nil, timerSlack.Nanoseconds(), 10), 0)
	}
}
