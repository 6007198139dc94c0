// Package ecr asks ECR for passwords of registries.
//
// It makes one call, GetAuthorizationToken, without the SDK's client for the whole
// service, which would be larger than the rest of package image many times over.
package ecr

import (
	"bytes"
	"context"
	"encoding/base64"
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
	"ecsagent/agent/secret"
)

const (
	service     = "ecr"
	operation   = "GetAuthorizationToken"
	target      = "AmazonEC2ContainerRegistry_V20150921." + operation
	contentType = "application/x-amz-json-1.1"
)

// roundTrip bounds one attempt (docs/spec/02 section 5.4).
const roundTrip = 5 * time.Second

// Options are the client's parts and settings. HTTP and Credentials are required.
type Options struct {
	HTTP *http.Client // its Timeout is replaced
	// Credentials gives the provider for a set of execution credentials, or that of
	// the instance for an empty id; nil for an id that is not known.
	Credentials func(credentialsID string) aws.CredentialsProvider
	IPv6Only    bool
	UserAgent   string
	Getenv      func(string) string // nil: os.Getenv
	Log         *zap.Logger
}

// Client implements image.ECRTokens.
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

// Token asks for the password of a registry.
func (c *Client) Token(ctx context.Context, req image.ECRRequest) (image.ECRToken, error) {
	credentials := c.opts.Credentials(req.CredentialsID)
	if credentials == nil {
		return image.ECRToken{}, errors.New("engine ecr credentials: not found")
	}
	endpoint, err := c.endpoint(req)
	if err != nil {
		return image.ECRToken{}, err
	}
	body, err := json.Marshal(map[string][]string{"registryIds": {req.RegistryID}})
	if err != nil {
		return image.ECRToken{}, fmt.Errorf("encode ecr %s: %w", operation, err)
	}
	caller := awsenv.Caller{
		Service: service, Region: req.Region, Endpoint: endpoint, Credentials: credentials,
		Client: c.opts.HTTP, UserAgent: c.opts.UserAgent, Log: c.opts.Log,
	}
	var token image.ECRToken
	err = caller.Do(ctx, awsenv.Call{
		Operation: operation,
		Header:    http.Header{"Content-Type": {contentType}, "X-Amz-Target": {target}},
		Body:      body,
		Decode: func(status int, header http.Header, body []byte) (err error) {
			if status/100 != 2 {
				return refusal(status, header, body)
			}
			token, err = readToken(body)
			return err
		},
	})
	return token, err
}

// endpoint is the override, what the environment says, or the region's own
// (docs/spec/02 section 5.4).
func (c *Client) endpoint(req image.ECRRequest) (string, error) {
	endpoint, err := awsenv.Endpoint(awsenv.EndpointOptions{
		Service: service, Region: req.Region, Override: req.Endpoint, IPv6Only: c.opts.IPv6Only, Getenv: c.opts.Getenv,
	})
	if err != nil {
		return "", err
	}
	// ECR's ordinary endpoints have a label more than its dual-stack and FIPS ones.
	if rest, ok := strings.CutPrefix(endpoint, "https://ecr."); ok && req.Endpoint == "" &&
		rest == req.Region+"."+awsenv.PartitionOf(req.Region).DNSSuffix {
		return "https://api.ecr." + rest, nil
	}
	return endpoint, nil
}

// Error is a refusal by ECR.
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
		Message string `json:"message"`
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

// readToken reads a reply, which must hold exactly one token.
func readToken(body []byte) (image.ECRToken, error) {
	var reply struct {
		AuthorizationData []struct {
			AuthorizationToken secretText `json:"authorizationToken"`
			ExpiresAt          float64    `json:"expiresAt"`
			ProxyEndpoint      string     `json:"proxyEndpoint"`
		} `json:"authorizationData"`
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&reply); err != nil {
		return image.ECRToken{}, errors.New("the reply is no authorization token")
	}
	if n := len(reply.AuthorizationData); n != 1 {
		return image.ECRToken{}, fmt.Errorf("the reply has %d authorization tokens, want 1", n)
	}
	data := reply.AuthorizationData[0]
	plain, err := base64.StdEncoding.DecodeString(string(data.AuthorizationToken))
	if err != nil {
		return image.ECRToken{}, errors.New("the authorization token is not base64")
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if !ok {
		return image.ECRToken{}, errors.New("the authorization token is not user:password")
	}
	return image.ECRToken{
		Username: user, Password: secret.String(password), Server: data.ProxyEndpoint,
		ExpiresAt: time.UnixMilli(int64(data.ExpiresAt * 1000)).UTC(),
	}, nil
}

// secretText is read from JSON and never written.
type secretText string
