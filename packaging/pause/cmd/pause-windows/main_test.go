package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestPause(t *testing.T) {
	stop := make(chan os.Signal, 1)
	stop <- syscall.SIGTERM
	var out bytes.Buffer
	if pause(stop, &out); out.String() != "holding the network of a task\nshutting down, got signal: terminated\n" {
		t.Errorf("%q", out.String())
	}
}

// TestMain lets the test's own program be the pause.
func TestMain(m *testing.M) {
	if os.Getenv("PAUSE") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestStop: the program sleeps until it is stopped, and ends well.
func TestStop(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process of Windows is told of its end through a console, which this test has none of")
	}
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), "PAUSE=1")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("it says nothing")
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || !strings.Contains(lines.Text(), "terminated") {
		t.Errorf("%q", lines.Text())
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}
