package uplink

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/gorilla/websocket"

	"ecsagent/agent/acs/wire"
)

// Limits of a connection (docs/spec/01 section 2.2).
const (
	DialTimeout      = 30 * time.Second
	HandshakeTimeout = 30 * time.Second
	IOTimeout        = 180 * time.Second // per read and per write
	// credentialsTimeout bounds the wait for credentials to sign with.
	credentialsTimeout = 126 * time.Second

	readBuffer = 4096
)

// Dialer opens connections.
type Dialer struct {
	Region  string
	Signing aws.CredentialsProvider                                           // asked anew for each signature
	TLS     *tls.Config                                                       // nil: the library's
	Proxy   func(*http.Request) (*url.URL, error)                             // nil: no proxy
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // nil: TCP
	// WriteBuffer is in bytes.
	WriteBuffer int
}

// Conn is an open connection.
type Conn struct {
	*websocket.Conn
	// Raw is under TLS and websocket: closing it ends everything without further talk.
	Raw net.Conn
}

// URL builds the address of a conversation from the endpoint that ECS named and the
// query that says who calls.
func URL(endpoint string, query url.Values) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("parse endpoint: %w", err)
	}
	switch u.Scheme {
	case "https", "wss":
		u.Scheme = "wss"
	case "http", "ws":
		u.Scheme = "ws"
	default:
		return nil, fmt.Errorf("endpoint %q: scheme must be https or http", endpoint)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("endpoint %q has no host", endpoint)
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	u.Path += "ws"
	u.RawQuery = query.Encode()
	return u, nil
}

// Open connects to the address. A refusal that ECS explains is a *wire.Exception.
func (d *Dialer) Open(ctx context.Context, target *url.URL) (*Conn, error) {
	header, err := d.Sign(ctx, target, nil)
	if err != nil {
		return nil, err
	}
	o := &opening{dialer: d, ctx: ctx}
	dialer := websocket.Dialer{
		NetDialContext: o.dial, Proxy: d.Proxy, TLSClientConfig: d.TLS,
		HandshakeTimeout: DialTimeout + HandshakeTimeout,
		ReadBufferSize:   readBuffer, WriteBufferSize: d.WriteBuffer,
	}
	conn, resp, err := dialer.DialContext(ctx, target.String(), header)
	o.done()
	if err != nil {
		return nil, refusal(resp, err)
	}
	return &Conn{conn, o.conn}, nil
}

// Sign returns the headers that make a GET of the address with that payload a signed
// request, Host among them only as part of the signature.
func (d *Dialer) Sign(ctx context.Context, target *url.URL, payload []byte) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	creds, err := d.Signing.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("get AWS credentials: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("build request to sign: %w", err)
	}
	sum := sha256.Sum256(payload)
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), "ecs", d.Region, time.Now()); err != nil {
		return nil, fmt.Errorf("sign request: %w", err)
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

// opening bounds the steps of one attempt to connect, and keeps the connection under
// TLS and websocket.
type opening struct {
	dialer *Dialer
	ctx    context.Context // it lives as long as one attempt
	conn   net.Conn
	stops  []func() bool
}

func (o *opening) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	dial := o.dialer.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	o.conn = conn
	drop := func() { _ = conn.Close() }
	o.stops = append(o.stops, time.AfterFunc(HandshakeTimeout, drop).Stop, context.AfterFunc(o.ctx, drop))
	return conn, nil
}

func (o *opening) done() {
	for _, stop := range o.stops {
		stop()
	}
}
