package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// operation is a kind of Docker call: the name of its failure, the word for it in
// a time-out's text, and its limit (docs/spec/02 sections 2.14 and 6.2).
type operation struct {
	name  string
	label string
	limit time.Duration
	// registry says that the answer may be a registry's, passed on by Docker.
	registry bool
}

// nameCannotStart is the name of a start that failed.
const nameCannotStart = "CannotStartContainerError"

// nameNoSuchContainer is the name of a stop that found no container.
const nameNoSuchContainer = "NoSuchContainerError"

// limitReached is the cause of a context that ended because the operation's own
// limit passed; the caller's deadline and a cancellation have other causes.
type limitReached struct{ limit time.Duration }

func (l *limitReached) Error() string { return fmt.Sprintf("no answer within %s", l.limit) }

// bound derives the context in which the operation runs.
func (op operation) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, op.limit, &limitReached{op.limit})
}

// failure turns what the client library returned into a runtime.Failure. ctx is
// the context of bound, still live or ended for the reason that failed the call.
func (op operation) failure(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var limit *limitReached
	if ctx.Err() != nil && errors.As(context.Cause(ctx), &limit) {
		return runtime.TimedOut(op.label, limit.limit, err)
	}
	return &runtime.Failure{
		Reason: task.Error{Name: op.name, Message: err.Error()},
		Kind:   op.kindOf(err),
		Cause:  err,
	}
}

// refuse is the failure of an operation that is not tried at all.
func (op operation) refuse(format string, args ...any) error {
	return &runtime.Failure{
		Reason: task.Error{Name: op.name, Message: fmt.Sprintf(format, args...)},
		Kind:   runtime.ErrInvalid,
	}
}

// Registries' answers reach the agent through Docker with status 400, 403, 404 or
// 500, depending on Docker's version: only the text tells.
var (
	// throttled heals by waiting, whatever the status.
	throttledTexts = []string{"toomanyrequests", "Too Many Requests", "Rate exceeded"}
	// denied is the answer to credentials that are missing or wrong. A registry that
	// says nothing more leaves Docker with the bare words.
	deniedTexts = []string{
		"no basic auth credentials", "unauthorized", "denied", "authentication required",
		"401 Unauthorized", "403 Forbidden", "incorrect username or password",
	}
	// absent is the answer to a name, tag or digest that the registry does not have.
	absentTexts = []string{"manifest unknown", "name unknown", "repository does not exist", "not found: manifest"}
	// invalid is an answer that no second attempt changes.
	invalidTexts = []string{
		"no matching manifest for", "invalid reference format", "does not match the specified platform",
		// On Windows: an image of Linux, or of a later Windows.
		"cannot download image with operating system", "cannot be used on this platform", "operating system is not supported", "-based image is incompatible with a",
	}
)

// portTakenTexts are how a start fails because of a host port: of another container, of
// another process, on Windows.
var portTakenTexts = []string{"port is already allocated", "address already in use", "specified port already exists"}

// kindOf tells what a caller can do about an error of the client library.
func (op operation) kindOf(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if client.IsErrConnectionFailed(err) {
		return runtime.ErrUnavailable
	}
	if op.registry {
		switch text := err.Error(); {
		case containsAny(text, throttledTexts):
			return nil
		case containsAny(text, deniedTexts):
			return runtime.ErrDenied
		case containsAny(text, absentTexts):
			return runtime.ErrNotFound
		case containsAny(text, invalidTexts):
			return runtime.ErrInvalid
		}
	}
	switch {
	case op.name == nameCannotStart && containsAny(err.Error(), portTakenTexts):
		return runtime.ErrPortTaken
	case cerrdefs.IsNotFound(err):
		return runtime.ErrNotFound
	case cerrdefs.IsConflict(err):
		return runtime.ErrConflict
	case cerrdefs.IsUnauthorized(err), cerrdefs.IsPermissionDenied(err):
		return runtime.ErrDenied
	case cerrdefs.IsInvalidArgument(err):
		return runtime.ErrInvalid
	}
	return nil
}

func containsAny(text string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}
