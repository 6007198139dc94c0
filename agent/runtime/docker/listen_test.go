//go:build !windows

package docker

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newHost is an address for a fake engine.
func newHost(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fake") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return "unix://" + filepath.Join(dir, "d.sock")
}

func listenAt(host string) (net.Listener, error) {
	return net.Listen("unix", strings.TrimPrefix(host, "unix://"))
}
