package awsenv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"ecsagent/agent/failpoint"
)

// StandardAttempts is the number of attempts of an ordinary call.
const StandardAttempts = 3

// maxReply bounds what is read of a reply, after decompression.
const maxReply = 4 << 20

const maxStandardDelay = 20 * time.Second

// Caller sends signed requests to one service and repeats those that failed
// in a way that may pass (docs/spec/01 section 1.1). It is safe for concurrent use
// as long as its fields are not changed.
type Caller struct {
	Service     string // the name that SigV4 signs for, such as "ecs"
	Region      string
	Endpoint    string // base URL
	Credentials aws.CredentialsProvider
	Client      *http.Client
	UserAgent   string
	Attempts    int                             // 0 means StandardAttempts
	Backoff     func(attempt int) time.Duration // delay after failed attempt 1, 2, ...; nil means StandardBackoff
	Log         *zap.Logger
}

// Call is one operation: a POST to the endpoint, unless Method and URL say otherwise.
// Header is sent with each attempt; Decode judges and reads the reply. When the error of Decode has a method Retryable() bool that says
// true, the call is attempted again.
type Call struct {
	Operation string
	Method    string
	URL       string
	Header    http.Header
	Body      []byte
	Decode    func(status int, header http.Header, body []byte) error
}

// TransportError says that no complete reply arrived.
type TransportError struct {
	Err error
	// Permanent is set when the same request cannot succeed: the server's
	// certificate is not trusted, or the proxy setting is refused.
	Permanent bool
}

// Error implements error.
func (e *TransportError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// Retryable reports whether another attempt may succeed.
func (e *TransportError) Retryable() bool { return !e.Permanent }

// Do performs the call. The error of the last attempt is returned, with the
// service and the operation before it.
func (c *Caller) Do(ctx context.Context, call Call) error {
	attempts, backoff := c.Attempts, c.Backoff
	if attempts <= 0 {
		attempts = StandardAttempts
	}
	if backoff == nil {
		backoff = StandardBackoff
	}
	id := uuid.NewString()
	for attempt := 1; ; attempt++ {
		err := failpoint.Before(c.Service, call.Operation)
		if err == nil {
			err = c.attempt(ctx, call, id, attempt, attempts)
		}
		if err == nil {
			err = failpoint.After(c.Service, call.Operation)
		}
		if err == nil {
			return nil
		}
		if attempt >= attempts || ctx.Err() != nil || !Retryable(err) {
			return fmt.Errorf("call %s %s: %w", c.Service, call.Operation, err)
		}
		delay := backoff(attempt)
		c.Log.Debug("aws call failed, trying again", zap.String("service", c.Service), zap.String("operation", call.Operation),
			zap.Int("attempt", attempt), zap.Duration("delay", delay), zap.Error(err))
		if Sleep(ctx, delay) != nil {
			return fmt.Errorf("call %s %s: %w, then %w", c.Service, call.Operation, err, context.Cause(ctx))
		}
	}
}

// Retryable reports whether err, or an error within it, says so of itself.
func Retryable(err error) bool {
	var r interface{ Retryable() bool }
	return errors.As(err, &r) && r.Retryable()
}

// StandardBackoff is the delay between the attempts of an ordinary call: a random
// part of 2^attempt seconds, at most 20 s.
func StandardBackoff(attempt int) time.Duration {
	limit := maxStandardDelay
	if attempt < 5 {
		limit = min(limit, time.Second<<attempt)
	}
	return rand.N(limit)
}

// AttemptsFrom returns the value of AWS_MAX_ATTEMPTS, or fallback when it is not
// set to a positive number.
func AttemptsFrom(getenv func(string) string, fallback int) int {
	if n, err := strconv.Atoi(getenv("AWS_MAX_ATTEMPTS")); err == nil && n > 0 {
		return n
	}
	return fallback
}

func (c *Caller) attempt(ctx context.Context, call Call, id string, attempt, attempts int) error {
	if call.Method == "" {
		call.Method = http.MethodPost
	}
	if call.URL == "" {
		call.URL = c.url()
	}
	req, err := http.NewRequestWithContext(ctx, call.Method, call.URL, bytes.NewReader(call.Body))
	if err != nil {
		return fmt.Errorf("build the request: %w", err)
	}
	for name, values := range call.Header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.UserAgent)
	req.Header.Set("Amz-Sdk-Invocation-Id", id)
	req.Header.Set("Amz-Sdk-Request", fmt.Sprintf("attempt=%d; max=%d", attempt, attempts))
	if err := c.sign(ctx, req, call.Body); err != nil {
		return err
	}
	resp, err := c.Client.Do(req)
	if err != nil {
		return transportError(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return transportError(fmt.Errorf("read the reply: %w", err))
	}
	if len(body) > maxReply {
		return fmt.Errorf("read the reply: it is longer than %d bytes", maxReply)
	}
	return call.Decode(resp.StatusCode, resp.Header, body)
}

func (c *Caller) url() string {
	if c.Endpoint != "" && c.Endpoint[len(c.Endpoint)-1] == '/' {
		return c.Endpoint
	}
	return c.Endpoint + "/"
}

func (c *Caller) sign(ctx context.Context, req *http.Request, body []byte) error {
	creds, err := c.Credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("get credentials: %w", err)
	}
	hash := sha256.Sum256(body)
	// Paths of S3 are keys, which are escaped once.
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = c.Service == "s3" })
	err = signer.SignHTTP(ctx, creds, req, hex.EncodeToString(hash[:]), c.Service, c.Region, time.Now())
	if err != nil {
		return fmt.Errorf("sign the request: %w", err)
	}
	return nil
}

func transportError(err error) error {
	var untrusted *tls.CertificateVerificationError
	return &TransportError{Err: err, Permanent: errors.As(err, &untrusted) || errors.Is(err, errProxyUnderCGI)}
}
