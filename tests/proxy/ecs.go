package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Submission is one call to the ECS API.
type Submission struct {
	Operation string // the part of X-Amz-Target after the dot
	Body      json.RawMessage
	Status    int // of the answer; 0 while there is none
	At        time.Time
}

// ECS stands before a control plane, forwards everything, websockets too, and
// records the calls of its ECS API. Its answers to DiscoverPollEndpoint lead to the
// public address, so that the agent's websockets come the same way.
type ECS struct {
	server *http.Server
	addr   string
	done   chan struct{}
	idle   func()
	// upstream is the control plane's host:port.
	upstream string

	mu          sync.Mutex
	public      string
	filter      Filter
	open        map[*socket]struct{}
	submissions []*Submission
	answer      func(operation string, body []byte) (status int, reply string)
}

// NewECS forwards to a control plane at an http URL.
func NewECS(upstream string) (*ECS, error) {
	to, err := url.Parse(upstream)
	if err != nil {
		return nil, fmt.Errorf("parse the control plane's URL: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for an ECS proxy: %w", err)
	}
	e := &ECS{addr: l.Addr().String(), upstream: to.Host, done: make(chan struct{}), open: map[*socket]struct{}{}}
	e.public = "http://" + e.addr
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	e.idle = transport.CloseIdleConnections
	target := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		},
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		ModifyResponse: e.answered,
	}
	e.server = &http.Server{
		ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.serve(w, r, target) }),
	}
	go func() {
		defer close(e.done)
		_ = e.server.Serve(l) // ends with Close
	}()
	return e, nil
}

// Address is the proxy's host:port.
func (e *ECS) Address() string { return e.addr }

// SetPublic sets the URL at which agents reach this proxy.
func (e *ECS) SetPublic(u string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.public = u
}

// SetAnswer lets f answer calls of the ECS API instead of the control plane; a
// status of 0 passes the call on, and nil passes all on.
func (e *ECS) SetAnswer(f func(operation string, body []byte) (status int, reply string)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = f
}

// Submissions returns the calls so far of the operations, or all of them.
func (e *ECS) Submissions(operations ...string) []Submission {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []Submission
	for _, s := range e.submissions {
		if len(operations) == 0 || slices.Contains(operations, s.Operation) {
			out = append(out, *s)
		}
	}
	return out
}

// Close ends the proxy.
func (e *ECS) Close() {
	_ = e.server.Close()
	<-e.done
	for _, s := range e.sockets("") {
		_ = s.agent.Close()
		_ = s.upstream.Close()
	}
	e.idle()
}

type recorded struct{}

func (e *ECS) serve(w http.ResponseWriter, r *http.Request, target http.Handler) {
	if websocket.IsWebSocketUpgrade(r) {
		e.websocket(w, r)
		return
	}
	_, operation, ok := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if !ok {
		target.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s := &Submission{Operation: operation, Body: body, At: time.Now()}
	e.mu.Lock()
	e.submissions = append(e.submissions, s)
	answer := e.answer
	e.mu.Unlock()
	if answer != nil {
		if status, reply := answer(operation, body); status != 0 {
			e.mu.Lock()
			s.Status = status
			e.mu.Unlock()
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, reply)
			return
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	target.ServeHTTP(w, r.WithContext(contextWith(r.Context(), s)))
}

// answered notes the status and leads discovered endpoints to the public address.
func (e *ECS) answered(r *http.Response) error {
	s := submissionOf(r.Request.Context())
	if s == nil {
		return nil
	}
	e.mu.Lock()
	s.Status = r.StatusCode
	public := e.public
	e.mu.Unlock()
	if s.Operation != "DiscoverPollEndpoint" || r.StatusCode != http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read the discovered endpoints: %w", err)
	}
	var endpoints map[string]string
	if err := json.Unmarshal(body, &endpoints); err != nil {
		return fmt.Errorf("decode the discovered endpoints: %w", err)
	}
	for key, value := range endpoints {
		if u, err := url.Parse(value); err == nil {
			endpoints[key] = strings.TrimSuffix(public, "/") + u.Path
		}
	}
	if body, err = json.Marshal(endpoints); err != nil {
		return fmt.Errorf("encode the endpoints: %w", err)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// contextWith carries a submission from the request to its answer.
func contextWith(ctx context.Context, s *Submission) context.Context {
	return context.WithValue(ctx, recorded{}, s)
}

func submissionOf(ctx context.Context) *Submission {
	s, _ := ctx.Value(recorded{}).(*Submission)
	return s
}
