package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/windows/svc/eventlog"

	"ecsagent/agent/app"
	"ecsagent/agent/logging"
	"ecsagent/platform_windows/service"
)

// daemon runs the agent until ctx ends, or until the service controller stops it.
func daemon(ctx context.Context, o app.Options, windowsService bool, stderr io.Writer) int {
	events, err := eventlog.Open(service.EventSource)
	if err != nil {
		// The other logs say the same things.
		fmt.Fprintln(stderr, "ecs-agent: open the event log:", err)
	} else {
		defer events.Close()
		o.EventLog = events
	}
	if !windowsService {
		return app.Run(ctx, o)
	}
	// A service has no console.
	o.Stdout, o.Stderr = io.Discard, io.Discard
	if o.EventLog != nil {
		o.Stderr = errorEvents{o.EventLog}
	}
	if err := service.Refresh(service.Name); err != nil {
		fmt.Fprintln(o.Stderr, "ecs-agent: settings of the host's start count, those set since do not:", err)
	}
	o.Sources.Environ = os.Environ()
	if err := service.Serve(ctx, service.Name, func(ctx context.Context) int { return app.Run(ctx, o) }); err != nil {
		fmt.Fprintln(stderr, "ecs-agent:", err)
		return app.ExitFailure
	}
	return app.ExitOK
}

// errorEvents writes what would go to the standard error output into the event log.
type errorEvents struct{ to logging.EventWriter }

// Write implements io.Writer.
func (e errorEvents) Write(p []byte) (int, error) {
	if err := e.to.Error(logging.EventID, strings.TrimSpace(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
