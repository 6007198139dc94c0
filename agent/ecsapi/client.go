package ecsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
)

const (
	service      = "ecs"
	targetPrefix = "AmazonEC2ContainerServiceV20141113."
	contentType  = "application/x-amz-json-1.1"
)

// SubmitAttempts is the number of attempts with which a state change is submitted
// when nothing around the call repeats it.
const SubmitAttempts = 298

// Options makes a Client.
type Options struct {
	Endpoint    string // base URL, from Endpoint
	Region      string
	Credentials aws.CredentialsProvider
	HTTPClient  *http.Client
	UserAgent   string // from UserAgent
	// Attempts per call; 0 means 3. AWS_MAX_ATTEMPTS of the process environment
	// replaces it.
	Attempts int
	Log      *zap.Logger
}

// Client calls the ECS API. It is safe for concurrent use.
type Client struct{ caller awsenv.Caller }

// New makes a Client.
func New(o Options) *Client {
	return &Client{caller: awsenv.Caller{
		Service: service, Region: o.Region, Endpoint: o.Endpoint, Credentials: o.Credentials,
		Client: o.HTTPClient, UserAgent: o.UserAgent, Log: o.Log,
		Attempts: awsenv.AttemptsFrom(os.Getenv, o.Attempts),
	}}
}

// Option changes one aspect of a Client, for With.
type Option func(*awsenv.Caller)

// Attempts sets the number of attempts per call, unless AWS_MAX_ATTEMPTS does.
func Attempts(n int) Option {
	return func(c *awsenv.Caller) { c.Attempts = awsenv.AttemptsFrom(os.Getenv, n) }
}

// Backoff sets the delay after failed attempt 1, 2 and so on.
func Backoff(delay func(attempt int) time.Duration) Option {
	return func(c *awsenv.Caller) { c.Backoff = delay }
}

// Credentials makes the calls be signed with other keys, such as those of a task.
func Credentials(p aws.CredentialsProvider) Option {
	return func(c *awsenv.Caller) { c.Credentials = p }
}

// OnBehalfOf names in the User-Agent the container that a call is made for.
func OnBehalfOf(container string) Option {
	return func(c *awsenv.Caller) { c.UserAgent += " container/" + container }
}

// With returns a client that differs in the given options and shares the rest,
// connections included.
func (c *Client) With(options ...Option) *Client {
	derived := *c
	for _, o := range options {
		o(&derived.caller)
	}
	return &derived
}

// SubmitBackoff is the delay between the attempts of a state-change submission:
// 2^attempt times 30 to 59 ms for attempts 1 to 13, then 5 min.
func SubmitBackoff(attempt int) time.Duration {
	if attempt > 13 {
		return 5 * time.Minute
	}
	return time.Duration(1<<attempt) * time.Duration(30+rand.IntN(30)) * time.Millisecond
}

// EndpointOptions says how the ECS endpoint is found; Override is ECS_BACKEND_HOST.
type EndpointOptions struct {
	Override string
	Region   string
	IPv6Only bool
	Getenv   func(string) string // nil means os.Getenv
}

// Endpoint returns the base URL of the ECS API: ECS_BACKEND_HOST, else
// AWS_ENDPOINT_URL_ECS, else AWS_ENDPOINT_URL, else the region's own.
func Endpoint(o EndpointOptions) (string, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	return awsenv.Endpoint(awsenv.EndpointOptions{
		Service: service, Region: o.Region, Override: o.Override, IPv6Only: o.IPv6Only, Getenv: o.Getenv,
	})
}

// Build identifies this program in the User-Agent.
type Build struct {
	Version string
	Hash    string // short commit hash
	Dirty   bool
}

// UserAgent returns the User-Agent of every ECS call, from which the service also
// learns the agent's version. osFamily may be empty.
func UserAgent(b Build, osType, osFamily string) string {
	dirty := ""
	if b.Dirty {
		dirty = "*"
	}
	host := osType
	if osFamily != "" {
		host += "; " + osFamily
	}
	return fmt.Sprintf("Amazon ECS Agent - v%s (%s%s) (%s) (+http://aws.amazon.com/ecs/)", b.Version, dirty, b.Hash, host)
}

// call performs one operation. A method of Client cannot have type parameters.
func call[In, Out any](ctx context.Context, c *Client, operation string, in *In) (*Out, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode ecs %s: %w", operation, err)
	}
	out := new(Out)
	err = c.caller.Do(ctx, awsenv.Call{
		Operation: operation,
		Header:    http.Header{"Content-Type": {contentType}, "X-Amz-Target": {targetPrefix + operation}},
		Body:      body,
		Decode: func(status int, header http.Header, body []byte) error {
			if status/100 != 2 {
				return decodeError(status, header, body)
			}
			if len(bytes.TrimSpace(body)) == 0 {
				return nil
			}
			if err := json.Unmarshal(body, out); err != nil {
				return fmt.Errorf("decode the reply: %w", err)
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
