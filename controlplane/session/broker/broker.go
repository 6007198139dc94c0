// Package broker lets clients of ECS Exec into containers: it gives out sessions with a
// token, takes the websocket that brings the token back, and passes messages on to the
// agent in the container (package session/shell).
package broker

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"ecsagent/controlplane/session"
)

// Limits of a session's beginning, and of one write to a client.
const (
	tokenLife  = time.Minute      // from ExecuteCommand to the websocket
	openLimit  = 10 * time.Second // from the websocket to the token
	writeLimit = 30 * time.Second
)

// Path is the pattern of the websockets, for http.ServeMux.
const Path = "GET /v1/data-channel/{session}"

// Options of a Broker.
type Options struct {
	// Dir has the folders of the logs of exec agents: Dir/TASK/CONTAINER.
	Dir string
	Log *zap.Logger
	Now func() time.Time // default time.Now
}

// Broker is safe for concurrent use.
type Broker struct {
	opts     Options
	upgrader websocket.Upgrader
	serving  sync.WaitGroup

	mu      sync.Mutex
	pending map[string]pending // by session
	closed  bool
}

// pending is a session that nobody has opened yet.
type pending struct {
	token, task, container, command string
	until                           time.Time
}

// New makes a Broker.
func New(o Options) *Broker {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Broker{opts: o, pending: make(map[string]pending)}
}

// Open makes a session in a container and returns its id, the token that opens it and the
// path of its websocket.
func (b *Broker) Open(taskID, container, command string) (id, token, path string) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	id, token = "ecs-execute-command-"+uuid.NewString(), hex.EncodeToString(secret)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.opts.Now()
	for other, p := range b.pending {
		if !now.Before(p.until) {
			delete(b.pending, other)
		}
	}
	b.pending[id] = pending{token, taskID, container, command, now.Add(tokenLife)}
	return id, token, "/v1/data-channel/" + id + "?role=publish_subscribe"
}

// take gives out a session to who has its token, once.
func (b *Broker) take(id, token string) (pending, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.pending[id]
	switch {
	case !ok:
		return p, fmt.Errorf("there is no session %q to open", id)
	case subtle.ConstantTimeCompare([]byte(p.token), []byte(token)) != 1:
		return p, fmt.Errorf("session %s: wrong token", id)
	}
	delete(b.pending, id)
	if !b.opts.Now().Before(p.until) {
		return p, fmt.Errorf("session %s was not opened within %v", id, tokenLife)
	}
	return p, nil
}

// ServeHTTP serves one session's websocket until either side ends it, or the request's
// context does.
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !b.begin() {
		http.Error(w, "the local ECS is ending", http.StatusServiceUnavailable)
		return
	}
	defer b.serving.Done()
	id := r.PathValue("session")
	ws, err := b.upgrader.Upgrade(w, r, nil)
	if err != nil {
		b.opts.Log.Debug("no websocket", zap.Error(err)) // the client was told
		return
	}
	defer ws.Close()
	spare := context.AfterFunc(r.Context(), func() { _ = ws.Close() }) // it may be closed
	defer spare()
	log := b.opts.Log.With(zap.String("session", id))
	p, err := b.admit(ws, id)
	if err != nil {
		log.Info("session refused", zap.Error(err))
		end(ws, websocket.ClosePolicyViolation, "the session cannot be opened")
		return
	}
	log = log.With(zap.String("task", p.task), zap.String("container", p.container))
	log.Info("session begins")
	if err := b.connect(r.Context(), ws, id, p); err != nil {
		log.Warn("session broke", zap.Error(err))
		return
	}
	log.Info("session ended")
}

func (b *Broker) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.serving.Add(1)
	return true
}

// Close waits for the sessions, whose contexts must have ended; none begins any more.
func (b *Broker) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.serving.Wait()
}

func (b *Broker) admit(ws *websocket.Conn, id string) (pending, error) {
	if err := ws.SetReadDeadline(time.Now().Add(openLimit)); err != nil {
		return pending{}, err
	}
	_, text, err := ws.ReadMessage()
	if err != nil {
		return pending{}, err
	}
	var open session.OpenDataChannel
	if err := json.Unmarshal(text, &open); err != nil {
		return pending{}, fmt.Errorf("read what opens the channel: %w", err)
	}
	if err := ws.SetReadDeadline(time.Time{}); err != nil {
		return pending{}, err
	}
	return b.take(id, open.TokenValue)
}

// connect joins the client with the agent in the container.
func (b *Broker) connect(ctx context.Context, ws *websocket.Conn, id string, p pending) error {
	client := Websocket(ws)
	raw, err := dial(ctx, filepath.Join(b.opts.Dir, p.task, strings.TrimLeft(p.container, "-")))
	if err != nil {
		m := session.NewClosed(id, "The agent in the container does not answer.", nil)
		err = errors.Join(err, client.Write(m.Encode()))
		end(ws, websocket.CloseNormalClosure, "")
		return err
	}
	defer raw.Close()
	agent := session.Framed(raw)
	if err := agent.Write(session.Encode(session.Begin{SessionID: id, Command: p.command})); err != nil {
		return err
	}
	left := make(chan error, 1) // the client
	go func() {
		err := pass(client, agent, nil)
		_ = raw.Close() // ends the other direction
		left <- err
	}()
	ended := false
	err = pass(agent, client, func(m session.Message) { ended = ended || m.Type == session.TypeClosed })
	if !ended {
		// The agent, or the container with it, has ended; or the client has gone, which this
		// does not reach.
		m := session.NewClosed(id, "The container, or the agent in it, has ended.", nil)
		_ = client.Write(m.Encode())
	}
	end(ws, websocket.CloseNormalClosure, "")
	return errors.Join(unusual(err), unusual(<-left))
}

// end closes a websocket with a word; the client may have gone.
func end(ws *websocket.Conn, code int, why string) {
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, why), time.Now().Add(writeLimit))
	_ = ws.Close()
}

// unusual leaves out the errors with which a direction ends as it should.
func unusual(err error) error {
	var closed *websocket.CloseError
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &closed) {
		return nil
	}
	return err
}

// pass passes messages on until one side ends; see, unless nil, is shown each.
func pass(from, to session.Conn, see func(session.Message)) error {
	for {
		raw, err := from.Read()
		if err != nil {
			return err
		}
		if see != nil {
			m, err := session.Parse(raw)
			if err != nil {
				return err
			}
			see(m)
		}
		if err := to.Write(raw); err != nil {
			return err
		}
	}
}

// Websocket makes a Conn of a websocket.
func Websocket(ws *websocket.Conn) session.Conn { return socket{ws} }

type socket struct{ *websocket.Conn }

// Read implements session.Conn. Texts are not for the stream.
func (s socket) Read() ([]byte, error) {
	for {
		kind, b, err := s.ReadMessage()
		if err != nil || kind == websocket.BinaryMessage {
			return b, err
		}
	}
}

// Write implements session.Conn.
func (s socket) Write(b []byte) error {
	if err := s.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	return s.WriteMessage(websocket.BinaryMessage, b)
}
