package gate

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/httpserver"
)

// Limits of the server (docs/spec/04 section 0.1).
const (
	readTimeout   = 5 * time.Second
	writeTimeout  = 5 * time.Second
	idleTimeout   = 5 * time.Second
	closeTimeout  = time.Second
	maxHeaderSize = 8 << 10
)

// Connections that may be open at once: of all, and of one address. Further ones are
// closed at once, so that one caller cannot keep the others out.
const (
	maxConnections = 4096
	maxPerAddress  = 512
)

// Serve answers on the listener until ctx ends; requests under way are finished.
func (g *Gate) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: g, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderSize, ErrorLog: zap.NewStdLog(g.o.Log.WithOptions(zap.IncreaseLevel(zap.WarnLevel))),
	}
	return httpserver.Serve(ctx, newBounded(l), server, closeTimeout)
}

// bounded is a listener that bounds its open connections.
type bounded struct {
	net.Listener
	mu    sync.Mutex
	all   int
	perIP map[string]int
}

func newBounded(l net.Listener) *bounded { return &bounded{Listener: l, perIP: make(map[string]int)} }

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip := addressOf(c.RemoteAddr())
		if b.take(ip) {
			return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { b.leave(ip) })}, nil
		}
		_ = c.Close()
	}
}

func (b *bounded) take(ip string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all >= maxConnections || b.perIP[ip] >= maxPerAddress {
		return false
	}
	b.all++
	b.perIP[ip]++
	return true
}

func (b *bounded) leave(ip string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.perIP[ip]--; b.perIP[ip] == 0 {
		delete(b.perIP, ip)
	}
}

func addressOf(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return string(tcp.IP)
	}
	return a.String()
}

type boundedConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}
