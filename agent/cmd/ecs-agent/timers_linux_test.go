package main

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCalmTimers: the threads that are there and one that is started later have the slack.
func TestCalmTimers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the kernel lets only root set another thread's slack")
	}
	calmTimers()
	slack := func() time.Duration {
		got, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
		if err != nil {
			t.Error(err)
		}
		return time.Duration(got)
	}
	if got := slack(); got != timerSlack {
		t.Errorf("slack of a thread that was there: %v", got)
	}
	runtime.LockOSThread() // so that the next one needs another thread
	defer runtime.UnlockOSThread()
	other := make(chan time.Duration)
	go func() { other <- slack() }()
	if got := <-other; got != timerSlack {
		t.Errorf("slack of another thread: %v", got)
	}
}
