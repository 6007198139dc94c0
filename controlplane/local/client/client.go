// Package client is a small client of the ECS API, as far as the command line of
// the local ECS and scripted agents use it. It signs with keys that open nothing,
// so it is of no use against AWS.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"ecsagent/controlplane/api"
)

const (
	targetPrefix = "AmazonEC2ContainerServiceV20141113."
	contentType  = "application/x-amz-json-1.1"
	// maxReply bounds what is read of one answer.
	maxReply = 64 << 20
	// callTimeout bounds one call.
	callTimeout = 30 * time.Second
)

// LocalHeader must be on requests to the local endpoints: a web page cannot set it
// on a request to another origin without asking first.
const LocalHeader = "X-Ecs-Local"

// Unreachable says that nothing answers at the endpoint.
type Unreachable struct {
	Endpoint string
	Err      error
}

// Error implements error.
func (e *Unreachable) Error() string { return fmt.Sprintf("no answer from %s: %v", e.Endpoint, e.Err) }

// Unwrap returns the cause.
func (e *Unreachable) Unwrap() error { return e.Err }

// Client calls one endpoint.
type Client struct {
	endpoint string
	region   string
	http     *http.Client
}

// New returns a client for an endpoint such as http://127.0.0.1:4580.
func New(endpoint, region string) *Client {
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	return &Client{
		endpoint: strings.TrimRight(endpoint, "/"), region: region,
		http: &http.Client{Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
		}},
	}
}

// Endpoint returns the URL that is called, without a slash at its end.
func (c *Client) Endpoint() string { return c.endpoint }

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call calls an operation of the ECS API. A refusal is an *api.Error, no answer at
// all an *Unreachable.
func (c *Client) Call(ctx context.Context, operation string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode input of %s: %w", operation, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint+"/", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("prepare %s: %w", operation, err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Amz-Target", targetPrefix+operation)
	sum := sha256.Sum256(body)
	creds := aws.Credentials{AccessKeyID: "AKIDECSLOCAL", SecretAccessKey: "local"}
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), "ecs", c.region, time.Now()); err != nil {
		return fmt.Errorf("sign %s: %w", operation, err)
	}
	reply, status, err := c.do(req)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return replyError(operation, status, reply)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(reply, out); err != nil {
		return fmt.Errorf("decode answer of %s: %w", operation, err)
	}
	return nil
}

func (c *Client) do(req *http.Request) ([]byte, int, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		if ctxErr := req.Context().Err(); errors.Is(ctxErr, context.Canceled) {
			return nil, 0, ctxErr
		}
		return nil, 0, &Unreachable{Endpoint: c.endpoint, Err: err}
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, 0, &Unreachable{Endpoint: c.endpoint, Err: err}
	}
	return reply, resp.StatusCode, nil
}

// replyError reads {"__type":"prefix#Code","message":"…"}.
func replyError(operation string, status int, reply []byte) error {
	var body struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if json.Unmarshal(reply, &body) != nil || body.Type == "" {
		return fmt.Errorf("%s: %w", operation, &api.Error{Code: http.StatusText(status), Status: status,
			Message: fmt.Sprintf("the answer (HTTP %d) is not that of an ECS endpoint", status)})
	}
	code := body.Type[strings.LastIndexByte(body.Type, '#')+1:]
	return fmt.Errorf("%s: %w", operation, &api.Error{Code: code, Message: body.Message, Status: status})
}

// Local calls an endpoint that only the local ECS has, below /_local/.
func (c *Client) Local(ctx context.Context, method, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := c.localRequest(ctx, method, path)
	if err != nil {
		return err
	}
	reply, status, err := c.do(req)
	if err != nil {
		return err
	}
	if status/100 != 2 {
		return fmt.Errorf("%s: %w", path, &api.Error{Code: http.StatusText(status), Message: strings.TrimSpace(string(reply)), Status: status})
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(reply, out); err != nil {
		return fmt.Errorf("decode answer of %s: %w", path, err)
	}
	return nil
}

func (c *Client) localRequest(ctx context.Context, method, path string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.endpoint+"/_local/"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("prepare call of %s: %w", path, err)
	}
	req.Header.Set(LocalHeader, "1")
	return req, nil
}

// Base returns what follows the last slash of an ARN.
func Base(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
