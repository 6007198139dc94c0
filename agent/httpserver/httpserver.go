// Package httpserver runs HTTP servers that end with a context.
package httpserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// firstRequest is how long, once the end has come, a connection may take to begin its
// first request: one that was just accepted has it on the way. http.Server itself would
// wait for seconds.
const firstRequest = 100 * time.Millisecond

// Serve answers on the listener until ctx ends. Requests under way are then finished
// within the grace, and cut off after it. The server is used once, and its ConnState is
// taken.
func Serve(ctx context.Context, l net.Listener, server *http.Server, grace time.Duration) error {
	s := silent{connections: make(map[net.Conn]struct{})}
	server.ConnState = s.observe
	stopped := make(chan struct{})
	defer func() { <-stopped }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(stopped)
		<-ctx.Done()
		hangUp := time.AfterFunc(min(firstRequest, grace), s.hangUp)
		defer hangUp.Stop()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if err := server.Shutdown(closing); err != nil {
			_ = server.Close()
		}
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// silent are the connections on which nothing was asked yet.
type silent struct {
	mu          sync.Mutex
	connections map[net.Conn]struct{}
}

func (s *silent) observe(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.connections[c] = struct{}{}
	} else {
		delete(s.connections, c)
	}
}

func (s *silent) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.connections {
		_ = c.Close() // does not wait: at most it stops a read
	}
}
