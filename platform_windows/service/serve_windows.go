package service

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/windows/svc"
)

// Serve runs the agent as the service of the given name, until the agent ends by itself
// or the service control manager asks for that, which ends the agent's context. The
// process has to have been started by the manager.
func Serve(ctx context.Context, name string, agent func(context.Context) (exitCode int)) error {
	if err := svc.Run(name, &handler{ctx: ctx, agent: agent}); err != nil {
		return fmt.Errorf("run as the service %s: %w", name, err)
	}
	return nil
}

type handler struct {
	ctx   context.Context
	agent func(context.Context) int
}

// Execute implements svc.Handler.
func (h *handler) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (specific bool, exit uint32) {
	var m Machine
	status <- statusOf(m.Report())
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	done := make(chan int, 1)
	go func() { done <- h.agent(ctx) }()
	status <- statusOf(m.Started())
	var beat <-chan time.Time
	for {
		select {
		case code := <-done:
			_, exit := m.Ended(code)
			return exit != 0, exit
		case r := <-requests:
			report, stop := m.Control(Control(r.Cmd))
			status <- statusOf(report)
			if stop {
				cancel()
				ticker := time.NewTicker(Beat)
				defer ticker.Stop()
				beat = ticker.C
			}
		case <-beat:
			status <- statusOf(m.Beat())
		}
	}
}

func statusOf(r Report) svc.Status {
	s := svc.Status{State: svc.State(r.State), CheckPoint: r.CheckPoint, WaitHint: uint32(r.WaitHint.Milliseconds())}
	if r.Accepts {
		s.Accepts = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown
	}
	return s
}
