// Package asm fetches logins of private registries from Secrets Manager
// (docs/spec/02 section 7.2).
//
// It makes one call, GetSecretValue, without the SDK's client for the whole service.
package asm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/image"
	"ecsagent/agent/runtime"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

const (
	service     = "secretsmanager"
	operation   = "GetSecretValue"
	target      = service + "." + operation
	contentType = "application/x-amz-json-1.1"
	// endpointVariable is how AWS's libraries call the endpoint of this service.
	endpointVariable = "AWS_ENDPOINT_URL_SECRETS_MANAGER"
	ignoreVariable   = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
)

// roundTrip bounds one attempt.
const roundTrip = 10 * time.Second

// Options are the client's parts and settings. HTTP and Credentials are required.
type Options struct {
	HTTP *http.Client // its Timeout is replaced
	// Credentials gives the provider for a set of execution credentials; nil for an id
	// that is not known.
	Credentials func(credentialsID string) aws.CredentialsProvider
	IPv6Only    bool
	UserAgent   string
	Getenv      func(string) string // nil: os.Getenv
	Log         *zap.Logger
}

// Client implements image.RegistrySecrets.
type Client struct{ opts Options }

// New makes a client.
func New(opts Options) *Client {
	if opts.Getenv == nil {
		opts.Getenv = os.Getenv
	}
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	http := *opts.HTTP
	http.Timeout = roundTrip
	opts.HTTP = &http
	return &Client{opts}
}

// Login fetches the login that a secret holds. Its errors begin with words of the
// specification, because they become the reason for which the task stops.
func (c *Client) Login(ctx context.Context, ref task.ASMAuth, credentialsID string) (runtime.RegistryAuth, error) {
	credentials := c.opts.Credentials(credentialsID)
	if credentials == nil {
		return runtime.RegistryAuth{}, errors.New("asm resource: unable to find execution role credentials")
	}
	region := ref.Region
	if region == "" {
		region = regionOf(ref.CredentialsParameter)
	}
	endpoint, err := c.endpoint(region)
	if err != nil {
		return runtime.RegistryAuth{}, fmt.Errorf("unable to create ASM client: %w", err)
	}
	body, err := json.Marshal(map[string]string{"SecretId": ref.CredentialsParameter})
	if err != nil {
		return runtime.RegistryAuth{}, fmt.Errorf("encode %s: %w", operation, err)
	}
	caller := awsenv.Caller{
		Service: service, Region: region, Endpoint: endpoint, Credentials: credentials,
		Client: c.opts.HTTP, UserAgent: c.opts.UserAgent, Log: c.opts.Log,
	}
	var reply []byte
	err = caller.Do(ctx, awsenv.Call{
		Operation: operation,
		Header:    http.Header{"Content-Type": {contentType}, "X-Amz-Target": {target}},
		Body:      body,
		Decode: func(status int, header http.Header, body []byte) error {
			if status/100 != 2 {
				return refusal(status, header, body)
			}
			reply = body
			return nil
		},
	})
	if err != nil {
		return runtime.RegistryAuth{}, fmt.Errorf("asm fetching secret from the service for %s: %w", ref.CredentialsParameter, err)
	}
	return readLogin(reply)
}

var _ image.RegistrySecrets = (*Client)(nil)

// endpoint is what the environment says, or the region's own (docs/spec/03 section
// 7.2).
func (c *Client) endpoint(region string) (string, error) {
	override := ""
	if !strings.EqualFold(c.opts.Getenv(ignoreVariable), "true") {
		override = c.opts.Getenv(endpointVariable)
	}
	return awsenv.Endpoint(awsenv.EndpointOptions{
		Service: service, Region: region, Override: override, IPv6Only: c.opts.IPv6Only, Getenv: c.opts.Getenv,
	})
}

// regionOf is the region in an ARN; empty when it is none.
func regionOf(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && parts[0] == "arn" {
		return parts[3]
	}
	return ""
}

// Error is a refusal by Secrets Manager.
type Error struct {
	Code       string
	Message    string
	HTTPStatus int
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (status %d)", e.Code, e.Message, e.HTTPStatus)
}

// Retryable reports whether the same call may succeed a moment later.
func (e *Error) Retryable() bool {
	return e.HTTPStatus >= http.StatusInternalServerError || e.HTTPStatus == http.StatusTooManyRequests ||
		strings.Contains(e.Code, "Throttl")
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
	return &Error{Code: code, Message: said.Message, HTTPStatus: status}
}

// readLogin reads a reply. Nothing of it is quoted.
func readLogin(body []byte) (runtime.RegistryAuth, error) {
	const prefix = "asm fetching authorization data: "
	var reply struct {
		SecretString *string
	}
	if json.Unmarshal(body, &reply) != nil {
		return runtime.RegistryAuth{}, errors.New(prefix + "empty response")
	}
	if reply.SecretString == nil || *reply.SecretString == "" {
		return runtime.RegistryAuth{}, errors.New(prefix + "empty secrets value")
	}
	var login struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if json.Unmarshal([]byte(*reply.SecretString), &login) != nil {
		return runtime.RegistryAuth{}, errors.New(prefix + "unable to unmarshal secret value, invalid schema")
	}
	for _, field := range []struct{ name, value string }{{"username", login.Username}, {"password", login.Password}} {
		if field.value == "" {
			return runtime.RegistryAuth{}, fmt.Errorf("asm fetching %s: AuthorizationData is malformed, empty field", field.name)
		}
	}
	return runtime.RegistryAuth{Username: login.Username, Password: secret.String(login.Password)}, nil
}
