package registration

import (
	"errors"
	"strings"

	"ecsagent/agent/ecsapi"
)

// Exit codes of the process (docs/spec/01 section 1.6.4).
const (
	ExitOK       = 0 // asked to end
	ExitRetry    = 1 // worth another start
	ExitTerminal = 5 // another start would end the same way
)

// typeChanged is what the service says when a saved registration belongs to another
// instance type.
const typeChanged = "Container instance type changes are not supported."

// Error is a failure to become, or to wait to become, a container instance.
type Error struct {
	Code int
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode is the code with which the process has to end.
func (e *Error) ExitCode() int { return e.Code }

func terminal(err error) *Error { return &Error{Code: ExitTerminal, Err: err} }

// classify gives an error of the service its exit code (docs/spec/01 section
// 1.6.2).
func classify(err error, again bool) *Error {
	var ready *Error
	if errors.As(err, &ready) {
		return ready
	}
	code := ExitRetry
	switch {
	case ecsapi.HasCode(err, ecsapi.CodeInvalidParameter, ecsapi.CodeClient):
		code = ExitTerminal
	case again && messageHas(err, typeChanged):
		code = ExitTerminal
	}
	return &Error{Code: code, Err: err}
}

// clusterMissing recognises the missing cluster by its code and by the text that
// the service sends under another code.
func clusterMissing(err error) bool {
	return ecsapi.HasCode(err, ecsapi.CodeClusterNotFound) || messageHas(err, "Cluster not found.")
}

func messageHas(err error, text string) bool {
	var e *ecsapi.Error
	return errors.As(err, &e) && strings.Contains(e.Message, text)
}
