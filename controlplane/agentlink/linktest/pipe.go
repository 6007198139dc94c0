package linktest

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Network is a network in memory with one listener, for tests whose time is not
// real: its connections are net.Pipes.
type Network struct {
	conns chan net.Conn
	once  sync.Once
	down  chan struct{}
}

// NewNetwork returns a network.
func NewNetwork() *Network {
	return &Network{conns: make(chan net.Conn), down: make(chan struct{})}
}

// Dial connects to the listener, whatever the address.
func (n *Network) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case n.conns <- far:
		return near, nil
	case <-n.down:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (n *Network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.down:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *Network) Close() error {
	n.once.Do(func() { close(n.down) })
	return nil
}

// Addr implements net.Listener.
func (n *Network) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }
