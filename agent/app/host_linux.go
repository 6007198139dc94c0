package app

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"go.uber.org/zap"

	"ecsagent/agent/platform"
	"ecsagent/agent/resource/cgroup"
	linux "ecsagent/platform_linux"
)

// GatherHost finds out the facts of this host. What could be found comes back beside
// an error too.
func GatherHost(ctx context.Context) (platform.Host, error) { return linux.Gather(ctx) }

// diskUsed tells how much of the disk that holds a directory is in use, in per cent.
func diskUsed(dir string) (float64, error) { return linux.DiskUsed(dir) }

// slicesOf is the host's systemd.
func slicesOf() cgroup.Slices { return linux.NewSlices() }

// maxStacks bounds what a dump of all goroutines may take (docs/spec/03 section 2.4).
const maxStacks = 640 << 10

// dumpOnSignal logs the stacks of all goroutines at each SIGUSR1, until the returned
// function is called.
func dumpOnSignal(log *zap.Logger) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range signals {
			stacks := make([]byte, maxStacks)
			log.Error("stacks of all goroutines", zap.ByteString("stacks", stacks[:runtime.Stack(stacks, true)]))
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// releaseProgram gives back what the start used of the program's file.
func releaseProgram() error { return linux.ReleaseProgram() }
