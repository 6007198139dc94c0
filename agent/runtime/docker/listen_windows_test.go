package docker

import (
	"net"
	"strings"
	"testing"
)

// newHost is an address for a fake engine. Wine has no unix sockets, and its named pipes
// do not complete what Docker's client begins.
func newHost(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "tcp://" + l.Addr().String()
}

func listenAt(host string) (net.Listener, error) {
	return net.Listen("tcp", strings.TrimPrefix(host, "tcp://"))
}
