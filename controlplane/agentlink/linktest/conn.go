// Package linktest has scripted agents: Conn is the agent's end of one websocket,
// driven message by message, and Instance a whole agent that registers and plays
// the tasks it is given. It is for tests of the control plane.
package linktest

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
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/gorilla/websocket"
)

// emptyHash is the SHA-256 of nothing.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// Dial says who connects to where. Empty members take what an agent would send.
type Dial struct {
	BaseURL         string // as DiscoverPollEndpoint gives it
	InstanceARN     string
	Cluster         string
	ProtocolVersion string // "2"
	SendCredentials bool
	AgentVersion    string
	AgentHash       string
	DockerVersion   string
	AccessKey       string
	Secret          string
	SessionToken    string
	NoSignature     bool
	// NetDial replaces the network.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Refusal is a handshake that was answered with something else than 101.
type Refusal struct {
	Status int
	Body   string
}

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("refused with HTTP %d: %s", r.Status, r.Body) }

// Message is one message of the service.
type Message struct {
	Type  string          `json:"type"`
	Body  json.RawMessage `json:"message"`
	Frame []byte          `json:"-"` // as it came
}

// ID returns the message's messageId.
func (m Message) ID() string {
	var body struct {
		MessageID string `json:"messageId"`
	}
	_ = json.Unmarshal(m.Body, &body) // a message without a body has no id
	return body.MessageID
}

// Conn is the agent's end of a websocket. A goroutine reads; Close ends it.
type Conn struct {
	dial     Dial
	conn     *websocket.Conn
	url      *url.URL
	messages chan Message
	err      error // valid once messages is closed
	done     chan struct{}
}

// ACS opens the work channel.
func (d Dial) ACS(ctx context.Context) (*Conn, error) {
	q := url.Values{
		"agentHash": {or(d.AgentHash, "1a2b3c4d")}, "agentVersion": {or(d.AgentVersion, "1.105.1")},
		"clusterArn": {or(d.Cluster, "default")}, "containerInstanceArn": {d.InstanceARN},
		"dockerVersion": {"DockerVersion: " + or(d.DockerVersion, "25.0.8")}, "protocolVersion": {or(d.ProtocolVersion, "2")},
		"seqNum": {"1"}, "sendCredentials": {fmt.Sprint(d.SendCredentials)},
	}
	return d.open(ctx, q)
}

// TCS opens the telemetry channel.
func (d Dial) TCS(ctx context.Context) (*Conn, error) {
	q := url.Values{
		"agentHash": {or(d.AgentHash, "1a2b3c4d")}, "agentVersion": {or(d.AgentVersion, "1.105.1")},
		"cluster": {or(d.Cluster, "default")}, "containerInstance": {d.InstanceARN},
		"dockerVersion": {or(d.DockerVersion, "25.0.8")},
	}
	return d.open(ctx, q)
}

func (d Dial) open(ctx context.Context, q url.Values) (*Conn, error) {
	u, err := url.Parse(strings.TrimSuffix(d.BaseURL, "/") + "/ws")
	if err != nil {
		return nil, fmt.Errorf("read base URL: %w", err)
	}
	u.RawQuery = q.Encode()
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	header := http.Header{}
	if !d.NoSignature {
		if header, err = d.sign(u, emptyHash); err != nil {
			return nil, err
		}
		header.Del("Host")
	}
	dialer := websocket.Dialer{NetDialContext: d.NetDial, HandshakeTimeout: 10 * time.Second}
	conn, resp, err := dialer.DialContext(ctx, u.String(), header)
	if errors.Is(err, websocket.ErrBadHandshake) {
		body, readErr := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return nil, errors.Join(&Refusal{Status: resp.StatusCode, Body: string(body)}, readErr)
	}
	if err != nil {
		return nil, err
	}
	c := &Conn{dial: d, conn: conn, url: u, messages: make(chan Message, 4096), done: make(chan struct{})}
	go c.read()
	return c, nil
}

// sign returns the signing headers of a GET of the URL, Host among them.
func (d Dial) sign(u *url.URL, payloadHash string) (http.Header, error) {
	signed := *u
	signed.Scheme = "https"
	req := &http.Request{Method: http.MethodGet, URL: &signed, Host: u.Host, Header: make(http.Header)}
	creds := aws.Credentials{AccessKeyID: or(d.AccessKey, "AKIDTEST"), SecretAccessKey: or(d.Secret, "secret"), SessionToken: d.SessionToken}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, req, payloadHash, "ecs", "us-west-2", time.Now()); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	req.Header.Set("Host", u.Host)
	return req.Header, nil
}

func (c *Conn) read() {
	defer close(c.done)
	defer close(c.messages)
	for {
		_, frame, err := c.conn.ReadMessage()
		if err != nil {
			c.err = err
			return
		}
		m := Message{Frame: frame}
		_ = json.Unmarshal(frame, &m) // what is no message has no type, and the test sees its frame
		c.messages <- m
	}
}

// Next returns the next message, or why the connection ended.
func (c *Conn) Next(ctx context.Context) (Message, error) {
	select {
	case m, ok := <-c.messages:
		if !ok {
			return Message{}, c.err
		}
		return m, nil
	case <-ctx.Done():
		return Message{}, fmt.Errorf("wait for a message: %w", ctx.Err())
	}
}

// Expect returns the next message of a type, passing over others.
func (c *Conn) Expect(ctx context.Context, typeName string) (Message, error) {
	for {
		m, err := c.Next(ctx)
		if err != nil {
			return Message{}, fmt.Errorf("wait for %s: %w", typeName, err)
		}
		if m.Type == typeName {
			return m, nil
		}
	}
}

// Ended waits for the end of the connection, passing over messages, and returns
// the close error.
func (c *Conn) Ended(ctx context.Context) error {
	for {
		if _, err := c.Next(ctx); err != nil {
			return err
		}
	}
}

// Send sends one message; on TCS use Publish.
func (c *Conn) Send(typeName string, message any) error {
	frame, err := json.Marshal(map[string]any{"type": typeName, "message": message})
	if err != nil {
		return fmt.Errorf("encode %s: %w", typeName, err)
	}
	return c.SendFrame(frame)
}

// SendFrame sends a text frame as it is. It must not be called concurrently.
func (c *Conn) SendFrame(frame []byte) error {
	return c.conn.WriteMessage(websocket.TextMessage, frame)
}

// Publish sends a signed TCS frame.
func (c *Conn) Publish(typeName string, message any) error {
	frame, err := c.Signed(typeName, message)
	if err != nil {
		return err
	}
	return c.SendFrame(frame)
}

// Signed makes the frame that Publish sends.
func (c *Conn) Signed(typeName string, message any) ([]byte, error) {
	body, err := json.Marshal(map[string]any{"type": typeName, "message": message})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", typeName, err)
	}
	sum := sha256.Sum256(body)
	header, err := c.dial.sign(c.url, hex.EncodeToString(sum[:]))
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := header.Write(&buf); err != nil {
		return nil, fmt.Errorf("write headers: %w", err)
	}
	buf.WriteString("\r\n")
	buf.Write(body)
	return buf.Bytes(), nil
}

// Ack sends the acknowledgement that an agent owes for a message, with one for
// each set of credentials in a payload (docs/spec/01 section 2.7).
func (c *Conn) Ack(m Message) error {
	switch m.Type {
	case "HeartbeatMessage":
		return c.Send("HeartbeatAckRequest", map[string]any{"messageId": m.ID()})
	case "IAMRoleCredentialsMessage":
		var body struct {
			RoleCredentials roleCredentials `json:"roleCredentials"`
		}
		if err := json.Unmarshal(m.Body, &body); err != nil {
			return fmt.Errorf("read credentials: %w", err)
		}
		return c.ackCredentials(m.ID(), body.RoleCredentials)
	}
	var body struct {
		ClusterARN  string `json:"clusterArn"`
		InstanceARN string `json:"containerInstanceArn"`
		Tasks       []struct {
			Role      *roleCredentials `json:"roleCredentials"`
			Execution *roleCredentials `json:"executionRoleCredentials"`
		} `json:"tasks"`
	}
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return fmt.Errorf("read %s: %w", m.Type, err)
	}
	for _, t := range body.Tasks {
		for _, set := range []*roleCredentials{t.Role, t.Execution} {
			if set == nil {
				continue
			}
			if err := c.ackCredentials(m.ID(), *set); err != nil {
				return err
			}
		}
	}
	return c.Send("AckRequest", map[string]any{"messageId": m.ID(), "cluster": body.ClusterARN, "containerInstance": body.InstanceARN})
}

type roleCredentials struct {
	ID         string `json:"credentialsId"`
	Expiration string `json:"expiration"`
}

func (c *Conn) ackCredentials(messageID string, set roleCredentials) error {
	return c.Send("IAMRoleCredentialsAckRequest", map[string]any{
		"messageId": messageID, "expiration": set.Expiration, "credentialsId": set.ID,
	})
}

// SendClose starts a closing handshake; Ended shows the answer.
func (c *Conn) SendClose(code int, text string) error {
	return c.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(time.Second))
}

// Close cuts the connection and waits for the reader.
func (c *Conn) Close() {
	_ = c.conn.Close() // it may be closed already
	for range c.messages {
	}
	<-c.done
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
