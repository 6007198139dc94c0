//go:build !windows

package main

import (
	"context"
	"fmt"
	"io"

	"ecsagent/agent/app"
)

// daemon runs the agent until ctx ends.
func daemon(ctx context.Context, o app.Options, windowsService bool, stderr io.Writer) int {
	if windowsService {
		fmt.Fprintln(stderr, "ecs-agent: -windows-service works on Windows only")
		return app.ExitFailure
	}
	return app.Run(ctx, o)
}
