package ecsapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Error codes that the agent acts on (docs/spec/01 section 1.6).
const (
	CodeThrottling       = "ThrottlingException"
	CodeServer           = "ServerException"
	CodeLimitExceeded    = "LimitExceededException"
	CodeClient           = "ClientException"
	CodeInvalidParameter = "InvalidParameterException"
	CodeClusterNotFound  = "ClusterNotFoundException"
	CodeAccessDenied     = "AccessDeniedException"
)

// unknownCode stands for a refusal that carries no code, such as a proxy's.
const unknownCode = "UnknownError"

var throttlingCodes = []string{
	"Throttling", CodeThrottling, "ThrottledException", "RequestThrottled", "RequestThrottledException",
	"TooManyRequestsException", "RequestLimitExceeded", CodeLimitExceeded, "SlowDown",
	"PriorRequestNotComplete", "TransactionInProgressException", "BandwidthLimitExceeded",
	"ProvisionedThroughputExceededException", "EC2ThrottledException",
}

// Error is a refusal by the service.
type Error struct {
	Code       string // without namespace, such as "ClientException"
	Message    string
	HTTPStatus int
	RequestID  string // empty when the service sent none
}

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s (status %d", e.Code, e.Message, e.HTTPStatus)
	if e.RequestID != "" {
		text += ", request " + e.RequestID
	}
	return text + ")"
}

// Throttled reports whether the service asks for fewer calls.
func (e *Error) Throttled() bool { return slices.Contains(throttlingCodes, e.Code) }

// Retryable reports whether the same call may succeed a moment later.
func (e *Error) Retryable() bool {
	switch e.HTTPStatus {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return e.Throttled() || e.Code == "RequestTimeout" || e.Code == "RequestTimeoutException"
}

// HasCode reports whether err is, or wraps, an Error with one of the codes.
func HasCode(err error, codes ...string) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}

// decodeError reads a refusal. The code is in the body, else in a header; a body
// that is not JSON becomes the message.
func decodeError(status int, header http.Header, body []byte) *Error {
	e := &Error{HTTPStatus: status, RequestID: header.Get("X-Amzn-Requestid")}
	var fields struct {
		Type    string `json:"__type"`
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &fields) == nil {
		e.Message = fields.Message
	} else {
		e.Message = excerpt(string(body))
	}
	for _, code := range []string{header.Get("X-Amzn-Errortype"), fields.Type, fields.Code} {
		if e.Code = cleanCode(code); e.Code != "" {
			return e
		}
	}
	e.Code = unknownCode
	return e
}

// cleanCode strips a namespace before '#' and a link after ':'.
func cleanCode(code string) string {
	code = code[strings.LastIndexByte(code, '#')+1:]
	code, _, _ = strings.Cut(code, ":")
	return strings.TrimSpace(code)
}

// excerpt keeps what a person needs of a page that some proxy answered with.
func excerpt(text string) string {
	const limit = 256
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + "..."
	}
	return text
}
