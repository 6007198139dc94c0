package awsenv

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"
)

// JSONOptions are the parts and settings of a client that makes single calls to services
// that speak JSON 1.1, each signed with the credentials of whom it is made for, without
// the SDK's clients for whole services. HTTP and Credentials are required for calls.
type JSONOptions struct {
	HTTP *http.Client // its Timeout is replaced
	// Credentials gives the provider for a set of execution credentials; nil for an id
	// that is not known. What an empty id is, the client says.
	Credentials func(credentialsID string) aws.CredentialsProvider
	IPv6Only    bool
	UserAgent   string
	Attempts    int                 // of a call; 0 means StandardAttempts
	Getenv      func(string) string // nil: os.Getenv
	Log         *zap.Logger
}

// Complete returns the options with what they left open, and a limit for one attempt of
// a call.
func (o JSONOptions) Complete(roundTrip time.Duration) JSONOptions {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	client := http.Client{}
	if o.HTTP != nil {
		client = *o.HTTP
	}
	client.Timeout = roundTrip
	o.HTTP = &client
	return o
}

// JSONCall is one call.
type JSONCall struct {
	Service     string // the name that is signed for
	Target      string // of X-Amz-Target; ends in the operation
	Region      string
	Endpoint    string
	Credentials aws.CredentialsProvider
	Request     any
}

// Do makes the call; read takes the reply.
func (o *JSONOptions) Do(ctx context.Context, call JSONCall, read func(reply []byte) error) error {
	operation := call.Target[strings.LastIndexByte(call.Target, '.')+1:]
	body, err := json.Marshal(call.Request)
	if err != nil {
		return fmt.Errorf("encode %s: %w", operation, err)
	}
	caller := Caller{
		Service: call.Service, Region: call.Region, Endpoint: call.Endpoint, Credentials: call.Credentials,
		Client: o.HTTP, UserAgent: o.UserAgent, Attempts: o.Attempts, Log: o.Log,
	}
	return caller.Do(ctx, Call{
		Operation: operation,
		Header:    http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {call.Target}},
		Body:      body,
		Decode: func(status int, header http.Header, body []byte) error {
			if status/100 != 2 {
				return refusal(status, header, body)
			}
			return read(body)
		},
	})
}

// Refusal is a service's answer that it will not do what it was asked for.
type Refusal struct {
	Code       string
	Message    string
	HTTPStatus int
}

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %s (status %d)", r.Code, r.Message, r.HTTPStatus)
}

// Retryable reports whether the same call may succeed a moment later.
func (r *Refusal) Retryable() bool {
	return r.HTTPStatus >= http.StatusInternalServerError || r.HTTPStatus == http.StatusTooManyRequests ||
		strings.Contains(r.Code, "Throttl")
}

func refusal(status int, header http.Header, body []byte) error {
	var said struct {
		Type    string `json:"__type"`
		Message string `json:"message"` // Message too: member names match in any case
	}
	_ = json.Unmarshal(body, &said) // a proxy's page is no JSON
	code := said.Type
	if code == "" {
		code = header.Get("X-Amzn-Errortype")
	}
	code, _, _ = strings.Cut(code[strings.LastIndexByte(code, '#')+1:], ":")
	if code == "" {
		code = "UnknownError"
	}
	return &Refusal{Code: code, Message: said.Message, HTTPStatus: status}
}
