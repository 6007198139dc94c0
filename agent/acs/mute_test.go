package acs_test

import (
	"context"
	"io"
	"net"
)

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
