package runtime

import (
	"errors"
	"fmt"
	"time"

	"ecsagent/agent/task"
)

// Kinds of failure that callers act on; ask with errors.Is.
var (
	// ErrNotFound says that there is no such container, image or volume.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the name is taken or that the object is in use.
	ErrConflict = errors.New("conflict")
	// ErrInvalid says that the request itself is at fault: asking again is of no use.
	ErrInvalid = errors.New("invalid request")
	// ErrDenied says that a registry refused the credentials, or that there were none.
	ErrDenied = errors.New("access denied")
	// ErrPortTaken says that a host port of the container is in use, so that it was
	// not started.
	ErrPortTaken = errors.New("host port is taken")
	// ErrUnavailable says that no answer came from the runtime: it is not known
	// whether the request took effect.
	ErrUnavailable = errors.New("runtime does not answer")
	// ErrTimeout says that the operation ran past its limit: it is not known
	// whether it took effect, or will.
	ErrTimeout = errors.New("timed out")
)

// Failure is an operation of the runtime that failed. errors.As with a
// **task.Error yields the Reason that the task's owner sees; errors.Is tells the
// Kind and everything in the chain of the Cause.
type Failure struct {
	Reason task.Error // docs/spec/02 section 6.2
	Kind   error      // one of the Err variables, or nil
	Cause  error      // what the client library said; may be nil
}

// Error renders the reason as ECS shows it.
func (f *Failure) Error() string { return f.Reason.Error() }

// Unwrap gives errors.Is and errors.As the reason, the kind and the cause.
func (f *Failure) Unwrap() []error {
	chain := []error{&f.Reason}
	for _, err := range []error{f.Kind, f.Cause} {
		if err != nil {
			chain = append(chain, err)
		}
	}
	return chain
}

// TimedOut is the failure of an operation that ran past its limit; label is the
// operation's word in docs/spec/02 section 2.14.
func TimedOut(label string, limit time.Duration, cause error) error {
	return &Failure{
		Reason: task.Error{
			Name:    "DockerTimeoutError",
			Message: fmt.Sprintf("Could not transition to %s; timed out after waiting %s", label, limit),
		},
		Kind:  ErrTimeout,
		Cause: cause,
	}
}
