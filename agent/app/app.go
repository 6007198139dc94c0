package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/config"
	"ecsagent/agent/logging"
	"ecsagent/agent/version"
)

// Exit codes of the process (docs/spec/03 section 2.2).
const (
	ExitOK       = 0  // ended as asked
	ExitFailure  = 1  // worth another start
	ExitTerminal = 5  // another start would end the same way
	ExitUpdate   = 42 // an update is staged: start that
)

// shutdownLimit is how long parts have to end once the agent was told to. What a
// part did not finish by then is found again at the next start.
const shutdownLimit = 1500 * time.Millisecond

// Options are what the process gives the agent.
type Options struct {
	Sources config.Sources
	License string
	Stdout  io.Writer
	Stderr  io.Writer

	EventLog logging.EventWriter // of Windows; nil: none
}

// Run is the agent, from boot until ctx ends or something makes it impossible to go
// on. It returns the process's exit code. Containers are left as they are.
func Run(ctx context.Context, o Options) int {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b, err := newBase(ctx, o)
	if err != nil {
		fmt.Fprintln(o.Stderr, "ecs-agent:", err)
		code := exitCode(ctx, err)
		lastWords("cannot start", err, code)
		return code
	}
	defer b.close()
	b.log.Info("starting", zap.String("version", version.Line()))
	defer dumpOnSignal(b.log)()
	a, err := boot(ctx, b)
	if err != nil {
		code := exitCode(ctx, err)
		if code != ExitOK {
			b.log.Error("cannot start", zap.Error(err), zap.Int("exit_code", code))
			lastWords("cannot start", err, code)
		}
		return code
	}
	defer a.close()
	err = a.serve(ctx, cancel)
	code := exitCode(ctx, err)
	if code == ExitOK || code == ExitUpdate {
		b.log.Info("stopped", zap.Int("exit_code", code))
	} else {
		b.log.Error("ended", zap.Error(err), zap.Int("exit_code", code))
		lastWords("ended", err, code)
	}
	return code
}

// exitError is an error that knows its exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }
func (e *exitError) ExitCode() int { return e.code }

func terminal(err error) error { return &exitError{ExitTerminal, err} }

// errUpdate ends the agent so that its supervisor starts the staged update.
var errUpdate = &exitError{ExitUpdate, errors.New("an update is staged")}

// exitCode finds the code for the way the agent ended. Being told to end is no
// failure, whatever it interrupted.
func exitCode(ctx context.Context, err error) int {
	cause := context.Cause(ctx)
	for _, e := range []error{cause, err} {
		var coded interface{ ExitCode() int }
		if errors.As(e, &coded) {
			return coded.ExitCode()
		}
	}
	if err == nil || errors.Is(cause, context.Canceled) {
		return ExitOK
	}
	return ExitFailure
}
