package main

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sys/windows/svc"

	"ecsagent/agent/app"
)

// serviceName is the agent's service (docs/spec/03 section 6.6).
const serviceName = "AmazonECS"

// daemon runs the agent until ctx ends, or until the service controller stops it.
func daemon(ctx context.Context, o app.Options, windowsService bool, stderr io.Writer) int {
	if !windowsService {
		return app.Run(ctx, o)
	}
	s := &service{ctx: ctx, options: o}
	if err := svc.Run(serviceName, s); err != nil {
		fmt.Fprintln(stderr, "ecs-agent: run as a service:", err)
		return app.ExitFailure
	}
	return app.ExitOK
}

// service answers the service controller.
type service struct {
	ctx     context.Context
	options app.Options
}

// Execute implements svc.Handler. A terminal exit is told as success, so that the
// service controller's recovery actions do not start the agent again.
func (s *service) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (bool, uint32) {
	const accepts = svc.AcceptStop | svc.AcceptShutdown
	status <- svc.Status{State: svc.StartPending}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	done := make(chan int, 1)
	go func() { done <- app.Run(ctx, s.options) }()
	status <- svc.Status{State: svc.Running, Accepts: accepts}
	for {
		select {
		case code := <-done:
			status <- svc.Status{State: svc.StopPending}
			if code == app.ExitTerminal {
				code = app.ExitOK
			}
			return code != app.ExitOK, uint32(code)
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				status <- r.CurrentStatus
			case svc.Stop, svc.Shutdown:
				status <- svc.Status{State: svc.StopPending}
				cancel()
			}
		}
	}
}
