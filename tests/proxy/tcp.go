// Package proxy stands between two programs and watches or disturbs what they say:
// TCP cuts, silences and slows connections; Docker counts and fails calls to an
// engine; ECS records what an agent submits.
package proxy

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// TCP forwards connections to a target and can break them in the ways networks do.
type TCP struct {
	network, target string
	listener        net.Listener
	work            sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	born    int // connections so far
	mute    int // those up to this one are mute for ever
	refuse  bool
	latency time.Duration
	flow    chan struct{} // closed while bytes may flow
	closed  chan struct{}
}

// NewTCP listens on a free port of 127.0.0.1 and forwards to a target, such as
// "tcp", "127.0.0.1:80" or "unix", "/run/x.sock".
func NewTCP(network, target string) (*TCP, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for a proxy: %w", err)
	}
	return newTCP(l, network, target), nil
}

// ListenTCP is NewTCP at an address.
func ListenTCP(address, network, target string) (*TCP, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for a proxy: %w", err)
	}
	return newTCP(l, network, target), nil
}

// NewUnix listens on a socket file and forwards to a target.
func NewUnix(socket, network, target string) (*TCP, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen for a proxy: %w", err)
	}
	return newTCP(l, network, target), nil
}

func newTCP(l net.Listener, network, target string) *TCP {
	p := &TCP{network: network, target: target, listener: l, conns: map[net.Conn]struct{}{}, flow: make(chan struct{}), closed: make(chan struct{})}
	close(p.flow)
	p.work.Go(p.accept)
	return p
}

// Address is where the proxy listens.
func (p *TCP) Address() string { return p.listener.Addr().String() }

// SetTarget makes new connections go elsewhere.
func (p *TCP) SetTarget(network, target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network, p.target = network, target
}

// Cut resets every connection and returns how many there were. New ones are taken.
func (p *TCP) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.conns) / 2 // each has two ends
	for c := range p.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		_ = c.Close()
	}
	return n
}

// Refuse makes new connections end at once, until it is called with false.
func (p *TCP) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Silence keeps every connection open and lets no byte through, old or new.
func (p *TCP) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flow:
		p.flow = make(chan struct{})
	default:
	}
}

// Resume ends Silence; the bytes held back arrive.
func (p *TCP) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flow:
	default:
		close(p.flow)
	}
}

// Mute keeps the connections of now open and lets no byte through them any more, as
// when a router forgets them; new ones are as usual.
func (p *TCP) Mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = p.born
}

// SetLatency delays each chunk by d in both directions.
func (p *TCP) SetLatency(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = d
}

// Close ends the proxy and its connections.
func (p *TCP) Close() {
	p.mu.Lock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Cut()
	p.work.Wait()
}

func (p *TCP) accept() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.work.Go(func() { p.serve(c) })
	}
}

func (p *TCP) serve(client net.Conn) {
	p.mu.Lock()
	network, target, refuse := p.network, p.target, p.refuse
	p.born++
	number := p.born
	p.mu.Unlock()
	if refuse {
		_ = client.Close()
		return
	}
	server, err := net.DialTimeout(network, target, 5*time.Second)
	if err != nil {
		_ = client.Close()
		return
	}
	if !p.track(client, server) {
		return
	}
	defer p.forget(client, server)
	var both sync.WaitGroup
	both.Go(func() { p.copy(number, server, client) })
	both.Go(func() { p.copy(number, client, server) })
	both.Wait()
}

// track remembers a connection so that Cut and Close reach it.
func (p *TCP) track(ends ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
		for _, c := range ends {
			_ = c.Close()
		}
		return false
	default:
	}
	for _, c := range ends {
		p.conns[c] = struct{}{}
	}
	return true
}

func (p *TCP) forget(ends ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range ends {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// copy moves bytes one way until an end closes, then closes the other direction.
func (p *TCP) copy(number int, to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && p.wait(number) {
			if _, werr := to.Write(buf[:n]); werr != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	_ = to.Close()
}

// wait holds a chunk of a connection back as long as the proxy is silent or slow; false
// when the proxy is closed.
func (p *TCP) wait(number int) bool {
	p.mu.Lock()
	flow, latency, mute := p.flow, p.latency, number <= p.mute
	p.mu.Unlock()
	if mute {
		<-p.closed
		return false
	}
	select {
	case <-flow:
	case <-p.closed:
		return false
	}
	if latency == 0 {
		return true
	}
	t := time.NewTimer(latency)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.closed:
		return false
	}
}
