package main

import (
	"context"

	"ecsagent/agent/platform"
	windows "ecsagent/platform_windows"
)

func gatherHost(ctx context.Context) (platform.Host, error) { return windows.Gather(ctx) }
