package app

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/config"
)

// socketDir is a folder with a path short enough for a socket.
func socketDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "ecs-app-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestControlSocket(t *testing.T) {
	dir := socketDir(t)
	path := filepath.Join(dir, ControlSocket)
	// One that a killed agent left behind.
	old, err := net.Listen("unix", path)
	if err != nil && runtime.GOOS == "windows" {
		t.Skip("Wine, as Windows Server 2016, has no unix sockets:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = old.Close()
	a := &agent{base: &base{cfg: &config.Config{DataDir: dir}, log: zap.NewNop()}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.control(ctx) }()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	var reply *http.Response
	for reply == nil { // until it listens
		if reply, err = client.Post("http://agent"+stopTasksPath+"?within=soon", "", nil); err != nil && ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	text, _ := io.ReadAll(reply.Body)
	_ = reply.Body.Close()
	if reply.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), `within "soon": want a duration`) {
		t.Errorf("answer %d %q", reply.StatusCode, text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v", info, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	if err := StopTasks(t.Context(), dir, time.Second); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("without an agent: %v", err)
	}
}
