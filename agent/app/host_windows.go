package app

import (
	"context"

	"go.uber.org/zap"

	"ecsagent/agent/platform"
	"ecsagent/agent/resource/cgroup"
	windows "ecsagent/platform_windows"
)

// GatherHost finds out the facts of this host. What could be found comes back beside
// an error too.
func GatherHost(ctx context.Context) (platform.Host, error) { return windows.Gather(ctx) }

// diskUsed tells how much of the disk that holds a directory is in use, in per cent.
func diskUsed(dir string) (float64, error) { return windows.DiskUsed(dir) }

// slicesOf is nothing: Windows has no cgroups.
func slicesOf() cgroup.Slices { return nil }

// dumpOnSignal does nothing: Windows has no SIGUSR1.
func dumpOnSignal(*zap.Logger) (stop func()) { return func() {} }

// releaseProgram has nothing to do: Windows trims what a process does not use.
func releaseProgram() error { return nil }
