package httpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forever is a grace that no test lives to see the end of.
const forever = time.Hour

// running is a server under test.
type running struct {
	address string
	end     context.CancelFunc
	ended   chan error
}

func start(t *testing.T, h http.HandlerFunc, grace time.Duration) *running {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	r := &running{address: l.Addr().String(), end: end, ended: make(chan error, 1)}
	go func() {
		r.ended <- Serve(ctx, l, &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}, grace)
		close(r.ended)
	}()
	t.Cleanup(func() {
		end()
		for range r.ended { //nolint:revive // drained until closed
		}
	})
	return r
}

func (r *running) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *running) ask(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", r.address); err != nil {
		t.Fatal(err)
	}
}

// hungUp reports how a connection ended, which it must have, without an answer.
func hungUp(t *testing.T, c net.Conn) {
	t.Helper()
	n, err := io.Copy(io.Discard, c)
	if n != 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%d bytes, error %v; want the end of the connection", n, err)
	}
}

// A connection on which nothing was asked holds up nobody; a request under way is
// finished.
func TestEnd(t *testing.T) {
	asked, release := make(chan struct{}, 10), make(chan struct{})
	r := start(t, func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-release
		_, _ = w.Write([]byte("done"))
	}, forever)
	silent, asking := r.dial(t), r.dial(t) // accepted in this order
	r.ask(t, asking)
	<-asked
	r.end()
	hungUp(t, silent)
	select {
	case err := <-r.ended:
		t.Fatalf("ended beside a request: %v", err)
	default:
	}
	close(release)
	if answer, err := io.ReadAll(asking); err != nil || len(answer) < 4 || string(answer[len(answer)-4:]) != "done" {
		t.Errorf("answer %q, %v", answer, err)
	}
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// What is not finished within the grace is cut off.
func TestGraceIsOver(t *testing.T) {
	asked := make(chan struct{})
	r := start(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}, time.Millisecond)
	c := r.dial(t)
	r.ask(t, c)
	<-asked
	r.end()
	hungUp(t, c)
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// broken is a listener that fails.
type broken struct{ net.Listener }

var errBroken = errors.New("broken")

func (broken) Accept() (net.Conn, error) { return nil, errBroken }

func TestListenerFails(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := Serve(t.Context(), broken{l}, &http.Server{ReadHeaderTimeout: time.Minute}, forever); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}
