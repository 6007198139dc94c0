package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ecsagent/agent/runtime"
)

func TestMain(m *testing.M) {
	// What waits for named pipes does so for the life of the process.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/Microsoft/go-winio.ioCompletionProcessor"))
}

// fakeEngine answers like a Docker engine on a socket. Handlers are by
// "METHOD path", the path without its API version.
type fakeEngine struct {
	host    string
	version string // answer to GET /version
	conns   atomic.Int64

	mu       sync.Mutex
	handlers map[string]http.HandlerFunc
	calls    []string // "METHOD path?query" in order, with the API version
	server   *http.Server
	done     chan struct{}
}

func newFake(t *testing.T) *fakeEngine {
	t.Helper()
	f := &fakeEngine{
		host:     newHost(t),
		version:  `{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64"}`,
		handlers: map[string]http.HandlerFunc{},
	}
	f.listen(t)
	t.Cleanup(f.kill)
	return f
}

func (f *fakeEngine) listen(t *testing.T) {
	t.Helper()
	l, err := listenAt(f.host)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			f.conns.Add(1)
		}
	}}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	f.mu.Lock()
	f.server, f.done = server, done
	f.mu.Unlock()
}

// kill cuts all connections, like an engine that dies.
func (f *fakeEngine) kill() {
	f.mu.Lock()
	server, done := f.server, f.done
	f.mu.Unlock()
	_ = server.Close()
	<-done
}

func (f *fakeEngine) handle(pattern string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handlers[pattern] = h
}

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/v1."); ok {
		path = rest[strings.IndexByte(rest, '/'):]
	}
	f.mu.Lock()
	f.calls = append(f.calls, r.Method+" "+r.URL.RequestURI())
	h := f.handlers[r.Method+" "+path]
	version := f.version
	f.mu.Unlock()
	switch {
	case h != nil:
		h(w, r)
	case path == "/version":
		_, _ = w.Write([]byte(version))
	case path == "/_ping":
		w.WriteHeader(http.StatusOK)
	default:
		fail(w, http.StatusNotFound, "no handler for "+r.Method+" "+path)
	}
}

func (f *fakeEngine) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

// count is how often a call came.
func (f *fakeEngine) count(call string) (n int) {
	for _, c := range f.seen() {
		if c == call {
			n++
		}
	}
	return n
}

// fail answers as Docker does.
func fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}

func answer(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) }
}

// connect makes a client with limits short enough for tests.
func (f *fakeEngine) connect(t *testing.T, limits Timeouts) *Client {
	t.Helper()
	if limits.ReconnectMin == 0 {
		limits.ReconnectMin, limits.ReconnectMax = time.Millisecond, 5*time.Millisecond
	}
	c, err := New(t.Context(), Options{Host: f.host, Timeouts: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// stall never answers; it ends with the connection.
func stall(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // until then the server does not notice
	<-r.Context().Done()
}

func createRequest(name, arn string) runtime.CreateRequest {
	return newRequest(name, map[string]string{runtime.LabelTaskARN: arn, runtime.LabelContainerName: "a"})
}

// collector gathers what a watch reports.
type collector struct {
	events chan runtime.Event
	done   chan error
}

// watchEvents runs Watch until the test ends.
func watchEvents(t *testing.T, c *Client) *collector {
	t.Helper()
	w := &collector{events: make(chan runtime.Event, 1000), done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { w.done <- c.Watch(ctx, func(e runtime.Event) { w.events <- e }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-w.done; err == nil {
			t.Error("Watch ended without an error")
		}
	})
	return w
}

func (w *collector) next(t *testing.T) runtime.Event {
	t.Helper()
	select {
	case e := <-w.events:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event within 10 s")
		return runtime.Event{}
	}
}

// epoch is when the events of the fake begin, in seconds: after a watch of them does.
const epoch = 4_000_000_000

func message(action, id string, at int64, attributes map[string]string) string {
	at += epoch * 1e9
	raw, err := json.Marshal(map[string]any{
		"Type": "container", "Action": action, "Actor": map[string]any{"ID": id, "Attributes": attributes},
		"time": at / 1e9, "timeNano": at,
	})
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(raw) + "\n"
}
