package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/local/client"
	"ecsagent/controlplane/taskdef"
)

// Exit codes of ecs-local.
const (
	ExitOK          = 0
	ExitFailed      = 1   // what was asked could not be done
	ExitUsage       = 2   // wrong arguments, or a file with mistakes
	ExitUnreachable = 3   // no local ECS answers
	ExitNotPlaced   = 4   // no container instance takes the task
	ExitTaskFailed  = 5   // the task stopped before it ran, or with a failure
	ExitInterrupted = 130 // Ctrl-C
)

// exitCodes is the table for the help text.
const exitCodes = `Exit codes:
  0  done
  1  what was asked could not be done
  2  wrong arguments, or mistakes in a task definition
  3  no local ECS answers at the endpoint
  4  no container instance takes the task
  5  a task stopped before it ran, or ended with a failure`

// exitError is an error with the exit code that goes with it.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &exitError{ExitUsage, fmt.Errorf(format, args...)}
}

// codeOf tells the exit code of a command's error.
func codeOf(err error) int {
	var coded *exitError
	var unreachable *client.Unreachable
	var findings *taskdef.Error
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &unreachable):
		return ExitUnreachable
	case errors.As(err, &findings):
		return ExitUsage
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitFailed
}

// orNone passes the answer for the default cluster before an agent has made it as
// an empty one.
func (a *app) orNone(err error) error {
	var refused *api.Error
	if a.cluster == "default" && errors.As(err, &refused) && refused.Code == api.ClusterNotFoundException {
		return nil
	}
	return err
}

// explain adds to an error what to do about it.
func explain(err error) string {
	text := err.Error()
	var unreachable *client.Unreachable
	var refused *api.Error
	switch {
	case errors.Is(err, context.Canceled):
		return strings.TrimSuffix("interrupted: "+text, ": "+context.Canceled.Error())
	case errors.As(err, &unreachable):
		return fmt.Sprintf("no local ECS answers at %s: start one with `ecs-local up`, or name another with --endpoint or ECS_LOCAL_ENDPOINT\n  (%v)",
			unreachable.Endpoint, unreachable.Err)
	case errors.As(err, &refused) && refused.Code == api.ClusterNotFoundException:
		return text + "\n  An agent makes the cluster `default` when it registers (`ecs-local up` shows how to start one);\n  others are made with `aws ecs create-cluster`."
	case errors.As(err, &refused) && strings.Contains(strings.ToLower(refused.Message), "no container instances"):
		return text + "\n  Start an agent: `ecs-local up` shows how."
	}
	return text
}
