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
	"strings"
	"time"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/image"
	"ecsagent/agent/runtime"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

const (
	service  = "secretsmanager"
	target   = service + ".GetSecretValue"
	variable = "SECRETS_MANAGER" // in AWS_ENDPOINT_URL_…
)

// roundTrip bounds one attempt.
const roundTrip = 10 * time.Second

// Options are the client's parts and settings.
type Options = awsenv.JSONOptions

// Client implements image.RegistrySecrets.
type Client struct{ opts Options }

// New makes a client.
func New(opts Options) *Client { return &Client{opts.Complete(roundTrip)} }

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
	var reply []byte
	err = c.opts.Do(ctx, awsenv.JSONCall{
		Service: service, Target: target, Region: region, Endpoint: endpoint, Credentials: credentials,
		Request: map[string]string{"SecretId": ref.CredentialsParameter},
	}, func(body []byte) error {
		reply = body
		return nil
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
	return awsenv.Endpoint(awsenv.EndpointOptions{
		Service: service, Variable: variable, Region: region, IPv6Only: c.opts.IPv6Only, Getenv: c.opts.Getenv,
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
type Error = awsenv.Refusal

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
