package proxy

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Direction tells the two ways of a websocket apart.
type Direction int

// The two ways.
const (
	ToAgent Direction = iota
	FromAgent
)

// Filter decides what becomes of a text frame: the frames it returns take its place,
// so that nil drops it and two copies double it.
type Filter func(d Direction, path string, frame []byte) [][]byte

// socket is one websocket on its way through the proxy.
type socket struct {
	path            string
	agent, upstream *websocket.Conn
	mu              sync.Mutex // guards writes to agent: Inject comes from elsewhere
}

// SetFilter lets f decide about each text frame of every websocket; nil ends that.
func (e *ECS) SetFilter(f Filter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.filter = f
}

// Inject sends a frame to the agent on each open websocket whose path contains part,
// and returns how many there were.
func (e *ECS) Inject(part string, kind int, frame []byte) int {
	n := 0
	for _, s := range e.sockets(part) {
		s.mu.Lock()
		err := s.agent.WriteMessage(kind, frame)
		s.mu.Unlock()
		if err == nil {
			n++
		}
	}
	return n
}

// CloseSockets ends the websockets whose path contains part with a close frame of
// the code, and returns how many there were.
func (e *ECS) CloseSockets(part string, code int, text string) int {
	sockets := e.sockets(part)
	for _, s := range sockets {
		_ = s.agent.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(time.Second))
	}
	return len(sockets)
}

// Sockets counts the open websockets whose path contains part.
func (e *ECS) Sockets(part string) int { return len(e.sockets(part)) }

func (e *ECS) sockets(part string) []*socket {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []*socket
	for s := range e.open {
		if strings.Contains(s.path, part) {
			out = append(out, s)
		}
	}
	return out
}

// websocket joins an agent's websocket with one to the control plane.
func (e *ECS) websocket(w http.ResponseWriter, r *http.Request) {
	header := http.Header{"Host": {r.Host}}
	for key, values := range r.Header {
		if key != "Upgrade" && key != "Connection" && !strings.HasPrefix(key, "Sec-Websocket-") {
			header[key] = values
		}
	}
	target := "ws://" + e.upstream + r.URL.RequestURI()
	upstream, response, err := (&websocket.Dialer{HandshakeTimeout: 10 * time.Second}).DialContext(r.Context(), target, header)
	if err != nil {
		refused(w, response)
		return
	}
	defer upstream.Close()
	agent, err := (&websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer agent.Close()
	s := &socket{path: r.URL.Path, agent: agent, upstream: upstream}
	e.mu.Lock()
	e.open[s] = struct{}{}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.open, s)
		e.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() { e.pump(s, ToAgent, agent, upstream) })
	both.Go(func() { e.pump(s, FromAgent, upstream, agent) })
	both.Wait()
}

// refused hands the control plane's refusal of a handshake to the agent.
func refused(w http.ResponseWriter, response *http.Response) {
	if response == nil {
		panic(http.ErrAbortHandler)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(body)
}

// pump moves messages one way until that way ends; it then closes both ends, with
// the close code that came, if one came.
func (e *ECS) pump(s *socket, d Direction, to, from *websocket.Conn) {
	defer to.Close()
	defer from.Close()
	for {
		kind, frame, err := from.ReadMessage()
		var closed *websocket.CloseError
		if errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure && closed.Code != websocket.CloseNoStatusReceived {
			_ = to.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(closed.Code, closed.Text), time.Now().Add(time.Second))
		}
		if err != nil {
			return
		}
		frames := [][]byte{frame}
		e.mu.Lock()
		filter := e.filter
		e.mu.Unlock()
		if filter != nil && kind == websocket.TextMessage {
			frames = filter(d, s.path, frame)
		}
		for _, f := range frames {
			if d == ToAgent {
				s.mu.Lock()
			}
			err := to.WriteMessage(kind, f)
			if d == ToAgent {
				s.mu.Unlock()
			}
			if err != nil {
				return
			}
		}
	}
}
