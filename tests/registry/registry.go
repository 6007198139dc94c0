// Package registry is an image registry on loopback that misbehaves on request.
// Docker engines take registries on 127.0.0.0/8 without TLS.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Fault is a way to misbehave. The zero Fault is none.
type Fault struct {
	Blobs  bool // concerns layers and configurations instead of manifests
	Status int  // answer with this status and the registry error that goes with it
	Stall  bool // take the request and never answer
	Rate   int  // bytes per second of a body
	Cut    int  // bytes of a body after which the connection is cut
	Times  int  // how many requests suffer; 0 means all
}

// Request is one request that the registry saw.
type Request struct {
	Method, Path string
	At           time.Time
}

// Server is a running registry.
type Server struct {
	address string
	handler http.Handler

	mu       sync.Mutex
	user     string // with password, what every request must carry; empty: nothing
	password string
	faults   map[string]*Fault // by repository
	requests []Request
	server   *http.Server
	done     chan struct{} // closed when server has ended
	release  chan struct{} // closed to end stalled requests
}

// Start serves an empty registry on a free port of 127.0.0.1.
func Start() (*Server, error) {
	s := &Server{address: "127.0.0.1:0", faults: map[string]*Fault{}}
	s.handler = ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	return s, s.Restart()
}

// Restart serves again, with the same content on the same port, after Kill.
func (s *Server) Restart() error {
	listener, err := net.Listen("tcp", s.Host())
	if err != nil {
		return fmt.Errorf("listen for the registry: %w", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	done, release := make(chan struct{}), make(chan struct{})
	s.mu.Lock()
	s.address, s.server, s.done, s.release = listener.Addr().String(), server, done, release
	s.mu.Unlock()
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends with Kill
	}()
	return nil
}

// Kill cuts every connection and stops listening.
func (s *Server) Kill() {
	s.mu.Lock()
	server, done, release := s.server, s.done, s.release
	s.server = nil
	s.mu.Unlock()
	if server == nil {
		return
	}
	close(release)
	_ = server.Close()
	<-done
}

// Host is the registry's host:port, as it stands before an image's name.
func (s *Server) Host() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}

// Push stores an image under repository:tag and returns its reference and digest.
func (s *Server) Push(ctx context.Context, repositoryTag string, img v1.Image) (ref, digest string, err error) {
	ref = s.Host() + "/" + repositoryTag
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return "", "", fmt.Errorf("parse %q: %w", ref, err)
	}
	if err := remote.Write(parsed, img, remote.WithContext(ctx), remote.WithAuth(s.login())); err != nil {
		return "", "", fmt.Errorf("push %s: %w", ref, err)
	}
	hash, err := img.Digest()
	if err != nil {
		return "", "", fmt.Errorf("digest of %s: %w", ref, err)
	}
	return ref, hash.String(), nil
}

// Protect makes the registry want a login from now on.
func (s *Server) Protect(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user, s.password = user, password
}

// login is what a client of the registry presents.
func (s *Server) login() authn.Authenticator {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.user == "" {
		return authn.Anonymous
	}
	return &authn.Basic{Username: s.user, Password: s.password}
}

// Set makes the requests for a repository suffer from a fault, until the next Set.
func (s *Server) Set(repository string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[repository] = &f
}

// Requests lists what the registry was asked for a repository, pushes included.
func (s *Server) Requests(repository string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Request
	for _, r := range s.requests {
		if strings.HasPrefix(r.Path, "/v2/"+repository+"/") {
			out = append(out, r)
		}
	}
	return out
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, Request{Method: r.Method, Path: r.URL.Path, At: time.Now()})
	fault, release := s.fault(r), s.release
	user, password, _ := r.BasicAuth()
	stranger := s.user != "" && (user != s.user || password != s.password)
	s.mu.Unlock()
	switch {
	case stranger:
		refuse(w, http.StatusUnauthorized)
	case fault.Stall:
		select {
		case <-r.Context().Done():
		case <-release:
		}
		panic(http.ErrAbortHandler)
	case fault.Status != 0:
		refuse(w, fault.Status)
	case fault.Rate > 0 || fault.Cut > 0:
		s.handler.ServeHTTP(&throttled{ResponseWriter: w, ctx: r.Context(), fault: fault}, r)
	default:
		s.handler.ServeHTTP(w, r)
	}
}

// fault takes what applies to a request. The caller holds the mutex.
func (s *Server) fault(r *http.Request) Fault {
	rest, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if !ok || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
		return Fault{}
	}
	repository, _, blobs := strings.Cut(rest, "/blobs/")
	if !blobs {
		repository, _, _ = strings.Cut(rest, "/manifests/")
	}
	f := s.faults[repository]
	if f == nil || f.Blobs != blobs || f.Times < 0 {
		return Fault{}
	}
	out := *f
	if f.Times > 0 {
		if f.Times--; f.Times == 0 {
			f.Times = -1
		}
	}
	return out
}

// refuse answers as the distribution protocol words errors.
func refuse(w http.ResponseWriter, status int) {
	code, message := "UNKNOWN", "unknown error"
	switch status {
	case http.StatusUnauthorized:
		code, message = "UNAUTHORIZED", "authentication required"
		w.Header().Set("WWW-Authenticate", `Basic realm="loopback"`)
	case http.StatusForbidden:
		code, message = "DENIED", "requested access to the resource is denied"
	case http.StatusNotFound:
		code, message = "MANIFEST_UNKNOWN", "manifest unknown"
	case http.StatusTooManyRequests:
		code, message = "TOOMANYREQUESTS", "too many requests"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
}

// throttled slows or cuts a response body.
type throttled struct {
	http.ResponseWriter
	ctx   context.Context
	fault Fault
	sent  int
}

// Write implements io.Writer.
func (t *throttled) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		chunk := p
		if t.fault.Rate > 0 {
			chunk = p[:min(len(p), max(1, t.fault.Rate/10))]
		}
		if t.fault.Cut > 0 {
			if t.sent >= t.fault.Cut {
				panic(http.ErrAbortHandler)
			}
			chunk = chunk[:min(len(chunk), t.fault.Cut-t.sent)]
		}
		n, err := t.ResponseWriter.Write(chunk)
		written, t.sent, p = written+n, t.sent+n, p[n:]
		if err != nil {
			return written, err
		}
		if err := t.pause(); err != nil {
			return written, err
		}
	}
	return written, nil
}

func (t *throttled) pause() error {
	if flusher, ok := t.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
	if t.fault.Rate == 0 {
		return nil
	}
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-t.ctx.Done():
		return errors.Join(io.ErrClosedPipe, t.ctx.Err())
	}
}
