package api

import (
	"fmt"
	"net/http"
)

// Error is an error as the API returns it.
type Error struct {
	Code    string
	Message string
	Status  int // HTTP status
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Codes of Error.
const (
	ClientException                            = "ClientException"
	ServerException                            = "ServerException"
	InvalidParameterException                  = "InvalidParameterException"
	ClusterNotFoundException                   = "ClusterNotFoundException"
	ClusterContainsTasksException              = "ClusterContainsTasksException"
	ClusterContainsContainerInstancesException = "ClusterContainsContainerInstancesException"
	ServiceNotFoundException                   = "ServiceNotFoundException"
	ResourceNotFoundException                  = "ResourceNotFoundException"
	TargetNotFoundException                    = "TargetNotFoundException"
	ConflictException                          = "ConflictException"
	UnsupportedFeatureException                = "UnsupportedFeatureException"
	LimitExceededException                     = "LimitExceededException"
	NoUpdateAvailableException                 = "NoUpdateAvailableException"
	UpdateInProgressException                  = "UpdateInProgressException"
	UnknownOperationException                  = "UnknownOperationException"
	SerializationException                     = "SerializationException"
	MissingAuthenticationTokenException        = "MissingAuthenticationTokenException"
	IncompleteSignatureException               = "IncompleteSignatureException"
	AccessDeniedException                      = "AccessDeniedException"
)

// Errorf makes an error that is the caller's fault.
func Errorf(code, format string, args ...any) *Error {
	status := http.StatusBadRequest
	if code == ServerException {
		status = http.StatusInternalServerError
	}
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: status}
}

// Client makes a ClientException.
func Client(format string, args ...any) *Error { return Errorf(ClientException, format, args...) }

// Invalid makes an InvalidParameterException.
func Invalid(format string, args ...any) *Error {
	return Errorf(InvalidParameterException, format, args...)
}

// ClusterNotFound is the answer for a cluster that does not exist.
func ClusterNotFound() *Error { return Errorf(ClusterNotFoundException, "Cluster not found.") }
