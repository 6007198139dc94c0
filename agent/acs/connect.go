package acs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/gorilla/websocket"

	"ecsagent/agent/acs/wire"
	"ecsagent/agent/credentials"
	"ecsagent/agent/task"
)

const (
	readBuffer  = 4096
	writeBuffer = 32768
)

// connect finds the endpoint and opens a connection to it.
func (s *Session) connect(ctx context.Context) (*link, error) {
	endpoint, err := s.discover(ctx)
	if err != nil {
		return nil, err
	}
	l, err := s.dial(ctx, endpoint)
	if ctx.Err() == nil {
		s.opts.Dialed(endpoint, err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", endpoint, err)
	}
	return l, nil
}

func (s *Session) discover(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	endpoint, err := s.opts.Discover(ctx)
	if err != nil {
		return "", fmt.Errorf("discover ACS endpoint: %w", err)
	}
	return endpoint, nil
}

func (s *Session) dial(ctx context.Context, endpoint string) (*link, error) {
	target, err := s.url(endpoint)
	if err != nil {
		return nil, err
	}
	header, err := s.sign(ctx, target)
	if err != nil {
		return nil, err
	}
	d := &opening{session: s, ctx: ctx}
	dialer := websocket.Dialer{
		NetDialContext: d.dial, Proxy: s.opts.Proxy, TLSClientConfig: s.opts.TLS,
		HandshakeTimeout: dialTimeout + handshakeTimeout,
		ReadBufferSize:   readBuffer, WriteBufferSize: writeBuffer,
	}
	conn, resp, err := dialer.DialContext(ctx, target.String(), header)
	d.done()
	if err != nil {
		return nil, refusal(resp, err)
	}
	conn.SetReadLimit(wire.MaxFrame)
	return newLink(s, conn, d.conn), nil
}

// url builds the address of the conversation (docs/spec/01 section 2.1).
func (s *Session) url(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("parse ACS endpoint: %w", err)
	}
	switch u.Scheme {
	case "https", "wss":
		u.Scheme = "wss"
	case "http", "ws":
		u.Scheme = "ws"
	default:
		return nil, fmt.Errorf("ACS endpoint %q: scheme must be https or http", endpoint)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("ACS endpoint %q has no host", endpoint)
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	u.Path += "ws"
	q := url.Values{
		"agentHash":            {s.opts.AgentHash},
		"agentVersion":         {s.opts.AgentVersion},
		"clusterArn":           {s.opts.Cluster},
		"containerInstanceArn": {s.opts.InstanceARN},
		"protocolVersion":      {"2"},
		"seqNum":               {"1"},
		"sendCredentials":      {fmt.Sprint(s.needCredentials())},
	}
	if v := s.opts.DockerVersion(); v != "" {
		q.Set("dockerVersion", "DockerVersion: "+v)
	}
	u.RawQuery = q.Encode()
	return u, nil
}

// needCredentials reports whether ECS has to send the credentials of all tasks.
// Beyond what docs/spec/01 section 2.1 asks for, it is also true while a task that
// should run lacks its credentials: the first connection may have ended before they
// came, and ECS would not send them again by itself.
func (s *Session) needCredentials() bool {
	if !s.heard.Load() {
		return true
	}
	for _, t := range s.opts.Engine.Snapshots() {
		if t.State.Desired != task.Running {
			continue
		}
		if s.lacks(t.ARN, credentials.Application, t.CredentialsID) || s.lacks(t.ARN, credentials.Execution, t.ExecutionCredentialsID) {
			return true
		}
	}
	return false
}

func (s *Session) lacks(arn string, role credentials.Role, id string) bool {
	_, ok := s.opts.Roles.ForTask(arn, role)
	return id != "" && !ok
}

// sign returns the headers of the signed upgrade (docs/spec/01 section 2.2).
func (s *Session) sign(ctx context.Context, target *url.URL) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	creds, err := s.opts.Signing.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("get AWS credentials: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("build upgrade request: %w", err)
	}
	empty := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(empty[:]), "ecs", s.opts.Region, time.Now()); err != nil {
		return nil, fmt.Errorf("sign upgrade request: %w", err)
	}
	return req.Header, nil
}

// refusal explains a failed handshake (docs/spec/01 section 2.6).
func refusal(resp *http.Response, err error) error {
	if resp == nil || !errors.Is(err, websocket.ErrBadHandshake) {
		return err
	}
	body, readErr := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if readErr != nil {
		return fmt.Errorf("refused with HTTP status %s: %w", resp.Status, readErr)
	}
	if e, ok := wire.DecodeException(body); ok {
		return e
	}
	return fmt.Errorf("refused with HTTP status %s: %q", resp.Status, body)
}

// opening bounds the steps of one attempt to connect, and keeps the connection
// under TLS and websocket so that it can be dropped without further talk.
type opening struct {
	session *Session
	ctx     context.Context // it lives as long as one dial
	conn    net.Conn
	stops   []func() bool
}

func (o *opening) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := o.session.opts.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	o.conn = conn
	drop := func() { _ = conn.Close() }
	o.stops = append(o.stops, time.AfterFunc(handshakeTimeout, drop).Stop, context.AfterFunc(o.ctx, drop))
	return conn, nil
}

func (o *opening) done() {
	for _, stop := range o.stops {
		stop()
	}
}
