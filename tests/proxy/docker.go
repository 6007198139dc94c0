package proxy

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Call is one call to an engine.
type Call struct {
	Method string
	Path   string // without version and query; ids as {id}
	Query  string
	At     time.Time
}

// String renders "POST /containers/{id}/start".
func (c Call) String() string { return c.Method + " " + c.Path }

// Intercept may answer a call instead of the engine; it returns true if it did.
type Intercept func(c Call, w http.ResponseWriter, r *http.Request) bool

// Docker stands before an engine, counts the calls and can answer in its place.
type Docker struct {
	server *http.Server
	host   string
	done   chan struct{}
	end    context.CancelFunc
	idle   func() // drops idle connections to the engine

	mu        sync.Mutex
	network   string // where the engine listens
	address   string
	down      bool
	calls     []Call
	intercept Intercept
	faults    []*Fault
	streams   map[*http.Request]context.CancelFunc // open event streams
}

// NewDocker listens on a socket file and forwards to the engine at host, a
// DOCKER_HOST of the kinds unix:// and tcp://.
func NewDocker(socket, host string) (*Docker, error) {
	network, address, err := SplitHost(host)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen for a Docker proxy: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &Docker{
		host: "unix://" + socket, done: make(chan struct{}), streams: map[*http.Request]context.CancelFunc{},
		network: network, address: address,
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d.mu.Lock()
			network, address := d.network, d.address
			d.mu.Unlock()
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		DisableCompression: true, MaxIdleConnsPerHost: 64,
	}
	target := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "docker"})
			r.Out.Host = r.In.Host
		},
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		// An engine that is gone is gone for the client too.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	d.idle = transport.CloseIdleConnections
	d.end = func() {
		cancel()
		d.idle()
	}
	d.server = &http.Server{
		ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
		Handler:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.serve(w, r, target) }),
	}
	go func() {
		defer close(d.done)
		_ = d.server.Serve(l) // ends with Close
	}()
	return d, nil
}

// Host is the DOCKER_HOST for the proxy's clients.
func (d *Docker) Host() string { return d.host }

// Close ends the proxy.
func (d *Docker) Close() {
	d.end()
	d.CloseStreams()
	_ = d.server.Close()
	<-d.done
}

// SetIntercept gives calls to f first; nil ends that.
func (d *Docker) SetIntercept(f Intercept) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.intercept = f
}

// Calls returns the calls since the last Reset, in order of arrival.
func (d *Docker) Calls() []Call {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

// Reset forgets the calls so far.
func (d *Docker) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = nil
}

func (d *Docker) serve(w http.ResponseWriter, r *http.Request, target http.Handler) {
	c := Call{Method: r.Method, Path: Pattern(r.URL.Path), Query: r.URL.RawQuery, At: time.Now()}
	d.mu.Lock()
	d.calls = append(d.calls, c)
	f, down := d.intercept, d.down
	d.mu.Unlock()
	if down {
		panic(http.ErrAbortHandler)
	}
	if f != nil && f(c, w, r) {
		return
	}
	forward := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.forward(c, w, r, target) })
	if !d.suffer(c, w, r, forward) {
		forward(w, r)
	}
}

func (d *Docker) forward(c Call, w http.ResponseWriter, r *http.Request, target http.Handler) {
	if c.Path != "/events" {
		target.ServeHTTP(w, r)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	r = r.WithContext(ctx)
	d.mu.Lock()
	d.streams[r] = cancel
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.streams, r)
	}()
	target.ServeHTTP(w, r)
}

// CloseStreams ends the open event streams and returns how many there were.
func (d *Docker) CloseStreams() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, cancel := range d.streams {
		cancel()
	}
	return len(d.streams)
}

var version = regexp.MustCompile(`^/v\d+\.\d+/`)

// Pattern strips the API version and puts {id} for names and ids.
func Pattern(path string) string {
	path = version.ReplaceAllString(path, "/")
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) < 2 {
		return path
	}
	switch parts[0] {
	case "containers", "volumes", "networks", "exec":
		if !slices.Contains([]string{"create", "json", "prune"}, parts[1]) {
			parts[1] = "{id}"
		}
	case "images":
		if len(parts) > 2 { // /images/<reference with slashes>/json
			return "/images/{id}/" + parts[len(parts)-1]
		}
	case "distribution":
		return "/distribution/{id}/json"
	}
	return "/" + strings.Join(parts, "/")
}

// SplitHost takes a DOCKER_HOST apart for net.Dial.
func SplitHost(host string) (network, address string, err error) {
	network, address, ok := strings.Cut(host, "://")
	if !ok || (network != "unix" && network != "tcp") {
		return "", "", fmt.Errorf("read DOCKER_HOST %q: want unix:///path or tcp://host:port", host)
	}
	return network, address, nil
}
