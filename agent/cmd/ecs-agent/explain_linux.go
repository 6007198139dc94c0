package main

import (
	"context"

	"ecsagent/agent/platform"
	linux "ecsagent/platform_linux"
)

func gatherHost(ctx context.Context) (platform.Host, error) { return linux.Gather(ctx) }
