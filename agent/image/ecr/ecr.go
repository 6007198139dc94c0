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
	"strings"
	"time"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/image"
	"ecsagent/agent/secret"
)

const (
	service = "ecr"
	target  = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
)

// roundTrip bounds one attempt (docs/spec/02 section 5.4).
const roundTrip = 5 * time.Second

// Options are the client's parts and settings. Empty credentials ids are the instance's.
type Options = awsenv.JSONOptions

// Client implements image.ECRTokens.
type Client struct{ opts Options }

// New makes a client.
func New(opts Options) *Client { return &Client{opts.Complete(roundTrip)} }

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
	var token image.ECRToken
	err = c.opts.Do(ctx, awsenv.JSONCall{
		Service: service, Target: target, Region: req.Region, Endpoint: endpoint, Credentials: credentials,
		Request: map[string][]string{"registryIds": {req.RegistryID}},
	}, func(reply []byte) (err error) {
		token, err = readToken(reply)
		return err
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
type Error = awsenv.Refusal

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
