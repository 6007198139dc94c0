// Command pause-windows is the program of the pause image for Windows: it holds the network
// of a task, sleeps, and ends at once when Docker stops its container (docs/spec/05 section
// 3.3). Docker tells of that by the event of Windows's shutdown, which Go hands on as
// SIGTERM.
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	pause(stop, os.Stdout)
}

// pause sleeps until it is told to end, and says by what.
func pause(stop <-chan os.Signal, out io.Writer) {
	_, _ = fmt.Fprintln(out, "holding the network of a task")
	_, _ = fmt.Fprintln(out, "shutting down, got signal:", <-stop)
}
