// Package ecr asks Amazon ECR for registry passwords.
package ecr

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"ecsagent/agent/image"
	"ecsagent/agent/secret"
)

// callTimeout bounds one round trip (docs/spec/02 section 5.4).
const callTimeout = 5 * time.Second

// ErrNoCredentials says that the execution role's credentials have not arrived.
var ErrNoCredentials = errors.New("engine ecr credentials: not found")

// Options say with which credentials ECR is asked, and how it is reached.
type Options struct {
	Instance aws.CredentialsProvider // the instance's own
	// Role returns the credentials of an execution role by their id.
	Role func(id string) (keys aws.Credentials, ok bool)
	// HTTP reaches ECR. Its connections are shared; its time limit is replaced.
	HTTP     *http.Client
	IPv6Only bool // use the dual-stack endpoints
}

// Tokens implements image.ECRTokens. It keeps nothing.
type Tokens struct {
	options Options
	http    *http.Client
}

// New returns Tokens.
func New(o Options) *Tokens {
	client := *o.HTTP
	client.Timeout = callTimeout
	return &Tokens{options: o, http: &client}
}

// Token asks for the password of one registry. The error is ErrNoCredentials when
// the execution role's credentials have not arrived.
func (t *Tokens) Token(ctx context.Context, req image.ECRRequest) (image.ECRToken, error) {
	keys := t.options.Instance
	if req.CredentialsID != "" {
		role, ok := t.options.Role(req.CredentialsID)
		if !ok {
			return image.ECRToken{}, ErrNoCredentials
		}
		keys = credentials.StaticCredentialsProvider{Value: role}
	}
	client := ecr.New(t.settings(req, keys))
	out, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{RegistryIds: []string{req.RegistryID}})
	if err != nil {
		return image.ECRToken{}, fmt.Errorf("get authorization token of registry %s in %s: %w", req.RegistryID, req.Region, err)
	}
	if len(out.AuthorizationData) != 1 {
		return image.ECRToken{}, fmt.Errorf("get authorization token of registry %s in %s: %d tokens came, want 1",
			req.RegistryID, req.Region, len(out.AuthorizationData))
	}
	data := out.AuthorizationData[0]
	token, err := decode(aws.ToString(data.AuthorizationToken))
	if err != nil {
		return image.ECRToken{}, fmt.Errorf("read authorization token of registry %s in %s: %w", req.RegistryID, req.Region, err)
	}
	token.Server, token.ExpiresAt = aws.ToString(data.ProxyEndpoint), aws.ToTime(data.ExpiresAt)
	return token, nil
}

func (t *Tokens) settings(req image.ECRRequest, keys aws.CredentialsProvider) ecr.Options {
	o := ecr.Options{Region: req.Region, Credentials: aws.NewCredentialsCache(keys), HTTPClient: t.http}
	switch {
	case req.Endpoint != "":
		endpoint := req.Endpoint
		if !strings.Contains(endpoint, "://") {
			endpoint = "https://" + endpoint
		}
		o.BaseEndpoint = aws.String(endpoint)
	case t.options.IPv6Only:
		o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
	}
	return o
}

// decode reads base64 of "user:password".
func decode(token string) (image.ECRToken, error) {
	plain, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return image.ECRToken{}, errors.New("it is not base64")
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if !ok || user == "" || password == "" {
		return image.ECRToken{}, errors.New("it is not user:password")
	}
	return image.ECRToken{Username: user, Password: secret.String(password)}, nil
}
