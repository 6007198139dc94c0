package acs_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// tunnel answers a CONNECT request by joining the client to addr until one side
// ends.
func tunnel(t *testing.T, w http.ResponseWriter, addr string) {
	up, err := net.Dial("tcp", addr)
	if err != nil {
		t.Errorf("proxy: %v", err)
		return
	}
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Errorf("proxy: %v", err)
		return
	}
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	var wg sync.WaitGroup
	join := func(a, b net.Conn) {
		_, _ = io.Copy(a, b)
		_ = a.Close()
		_ = b.Close()
	}
	wg.Go(func() { join(up, client) })
	wg.Go(func() { join(client, up) })
	wg.Wait()
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// mute replaces the first connection by one whose peer reads and never answers.
func mute(dial dialFunc, dials *int) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		*dials++
		if *dials > 1 {
			return dial(ctx, network, addr)
		}
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		return client, nil
	}
}
