// Package acstest is a scripted ACS for tests: it accepts or refuses connections,
// sends what it is told, also nonsense, and shows what the agent sends.
//
// With Start it listens on loopback. With StartPipe it needs no network and its
// Dial goes into the session's options, so that it works inside a synctest bubble.
package acstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Server is the fake ACS.
type Server struct {
	tb       testing.TB
	endpoint string
	http     *http.Server
	listener net.Listener
	pipe     *pipeListener // nil when it listens on loopback
	done     chan struct{}
	wg       sync.WaitGroup
	conns    chan *Conn

	mu       sync.Mutex
	refusals []refusal
	open     map[*Conn]bool
}

type refusal struct {
	status int
	body   string
}

// Start returns a server on a loopback port. It is closed with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	return serve(tb, listener, "http://"+listener.Addr().String())
}

// StartPipe returns a server that is reached with its Dial only.
func StartPipe(tb testing.TB) *Server {
	p := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	s := serve(tb, p, "http://acs.test")
	s.pipe = p
	return s
}

func serve(tb testing.TB, listener net.Listener, endpoint string) *Server {
	s := &Server{
		tb: tb, endpoint: endpoint, listener: listener,
		done: make(chan struct{}), conns: make(chan *Conn, 64), open: make(map[*Conn]bool),
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	s.wg.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("fake ACS: %v", err)
		}
	})
	tb.Cleanup(s.Close)
	return s
}

// Endpoint is what DiscoverPollEndpoint returns.
func (s *Server) Endpoint() string { return s.endpoint }

// Dial reaches a server that was made with StartPipe.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case s.pipe.conns <- server:
		return client, nil
	case <-s.pipe.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Refuse makes the server refuse the next connection with an HTTP status and body.
func (s *Server) Refuse(status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals = append(s.refusals, refusal{status, body})
}

// Accept waits for the next connection that is not refused.
func (s *Server) Accept() *Conn {
	s.tb.Helper()
	select {
	case c := <-s.conns:
		return c
	case <-s.done:
		s.tb.Fatal("fake ACS is closed")
		return nil
	}
}

// AcceptWithin is Accept with a limit.
func (s *Server) AcceptWithin(limit time.Duration) (*Conn, bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case c := <-s.conns:
		return c, true
	case <-timer.C:
		return nil, false
	}
}

// Close ends all connections and waits for them.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.done:
		s.mu.Unlock()
		return
	default:
	}
	close(s.done)
	for c := range s.open {
		c.Cut()
	}
	s.mu.Unlock()
	_ = s.http.Close()
	s.wg.Wait()
}

// ServeHTTP implements http.Handler: the upgrade.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if len(s.refusals) > 0 {
		no := s.refusals[0]
		s.refusals = s.refusals[1:]
		s.mu.Unlock()
		w.WriteHeader(no.status)
		_, _ = w.Write([]byte(no.body))
		return
	}
	s.mu.Unlock()
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &Conn{
		tb: s.tb, ws: ws, Request: r, Query: r.URL.Query(),
		frames: make(chan Frame, 1024), Closed: make(chan struct{}), resume: make(chan struct{}),
	}
	s.mu.Lock()
	select {
	case <-s.done:
		s.mu.Unlock()
		_ = ws.Close()
		return
	default:
	}
	ws.SetCloseHandler(func(code int, _ string) error {
		if !c.deaf.Load() {
			_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second)) // as the library does
		}
		return nil
	})
	s.open[c] = true
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	select {
	case s.conns <- c:
	default:
		s.tb.Errorf("fake ACS: too many connections wait for Accept")
	}
	c.read()
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
}

// Frame is what the agent sent.
type Frame struct {
	Type    string          `json:"type"`
	Message json.RawMessage `json:"message"`
	Raw     string          `json:"-"`
}

// Conn is one connection of the agent.
type Conn struct {
	Request *http.Request
	Query   url.Values
	// Closed is closed at the end of the connection; CloseError is set then.
	Closed     chan struct{}
	CloseError error

	tb     testing.TB
	ws     *websocket.Conn
	frames chan Frame
	write  sync.Mutex
	deaf   atomic.Bool

	stalled atomic.Bool
	resume  chan struct{}
	once    sync.Once
}

func (c *Conn) read() {
	defer func() { _ = c.ws.Close() }()
	defer close(c.Closed)
	for {
		_, raw, err := c.ws.ReadMessage()
		if err != nil {
			c.CloseError = err
			if c.deaf.Load() {
				_, _ = io.Copy(io.Discard, c.ws.NetConn())
			}
			return
		}
		f := Frame{Raw: string(raw)}
		if err := json.Unmarshal(raw, &f); err != nil {
			f.Type = fmt.Sprintf("not JSON: %v", err)
		}
		c.frames <- f
		if c.stalled.Load() {
			<-c.resume
		}
	}
}

// Stall makes the server read at most one more frame, until Resume or Cut.
func (c *Conn) Stall() { c.stalled.Store(true) }

// Resume ends Stall for good.
func (c *Conn) Resume() {
	c.stalled.Store(false)
	c.once.Do(func() { close(c.resume) })
}

// Send sends a message. A message that is a string is taken as JSON.
func (c *Conn) Send(kind string, message any) {
	c.tb.Helper()
	raw, ok := message.(string)
	if !ok {
		encoded, err := json.Marshal(message)
		if err != nil {
			c.tb.Fatalf("encode %s: %v", kind, err)
		}
		raw = string(encoded)
	}
	c.SendRaw(fmt.Sprintf(`{"type":%q,"message":%s}`, kind, raw))
}

// SendRaw sends a text frame as it is. An error is ignored: the agent may have left.
func (c *Conn) SendRaw(frame string) {
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.ws.WriteMessage(websocket.TextMessage, []byte(frame))
}

// SendBinary sends a binary frame.
func (c *Conn) SendBinary(frame string) {
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.ws.WriteMessage(websocket.BinaryMessage, []byte(frame))
}

// Ping sends a ping.
func (c *Conn) Ping() {
	_ = c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
}

// Heartbeat sends a HeartbeatMessage.
func (c *Conn) Heartbeat(id string) {
	c.Send("HeartbeatMessage", map[string]any{"messageId": id, "healthy": true})
}

// Next waits for the next frame of the agent.
func (c *Conn) Next() Frame {
	c.tb.Helper()
	f, ok := c.next()
	if !ok {
		c.tb.Fatalf("agent sent nothing more: %v", c.CloseError)
	}
	return f
}

// TryNext returns the next frame of the agent; false when the connection ended
// before one came.
func (c *Conn) TryNext() (Frame, bool) { return c.next() }

func (c *Conn) next() (Frame, bool) {
	select {
	case f := <-c.frames:
		return f, true
	default:
	}
	select {
	case f := <-c.frames:
		return f, true
	case <-c.Closed:
		select {
		case f := <-c.frames:
			return f, true
		default:
			return Frame{}, false
		}
	}
}

// Expect waits for the next frame and checks it against its JSON text.
func (c *Conn) Expect(frame string) {
	c.tb.Helper()
	if got := c.Next(); got.Raw != frame {
		c.tb.Errorf("agent sent\n %s\nwant\n %s", got.Raw, frame)
	}
}

// ExpectNothing checks that the agent answers a heartbeat and sent nothing before.
func (c *Conn) ExpectNothing() {
	c.tb.Helper()
	c.Heartbeat("fence")
	c.Expect(`{"type":"HeartbeatAckRequest","message":{"messageId":"fence"}}`)
}

// Close sends a close frame.
func (c *Conn) Close(code int, text string) {
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(time.Second))
}

// Cut ends the connection without a close frame.
func (c *Conn) Cut() {
	c.Resume()
	_ = c.ws.NetConn().Close()
}

// IgnoreClose makes the server leave close frames of the agent unanswered and the
// connection open.
func (c *Conn) IgnoreClose() {
	c.deaf.Store(true)
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "acs.test"} }
