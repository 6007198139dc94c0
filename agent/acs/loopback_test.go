package acs_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"ecsagent/agent/acs"
	"ecsagent/agent/acs/acstest"
	"ecsagent/agent/credentials"
	"ecsagent/agent/task"
)

// run starts a session on real sockets.
func run(t *testing.T, opts acs.Options) (stop func()) {
	opts.Cluster, opts.InstanceARN, opts.Region = cluster, instance, "us-west-2"
	opts.Signing, opts.Log = signing{}, zap.NewNop()
	opts.Engine = &engine{tasks: make(map[string]*task.Snapshot)}
	opts.Roles, opts.Attachments = credentials.New(), new(attachments)
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan error, 1)
	go func() { finished <- acs.New(opts).Run(ctx) }()
	return func() {
		cancel()
		if err := <-finished; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestLoopback(t *testing.T) {
	server := acstest.Start(t)
	stop := run(t, acs.Options{Discover: func(context.Context) (string, error) { return server.Endpoint() + "/base/", nil }})
	c := server.Accept()
	if c.Request.URL.Path != "/base/ws" {
		t.Errorf("path %s", c.Request.URL.Path)
	}
	c.ExpectNothing()
	start := time.Now()
	stop()
	if took := time.Since(start); took > time.Second {
		t.Errorf("stopping took %s", took)
	}
}

// TLS verifies the name without the port; a proxy is asked for a tunnel.
func TestTLSThroughProxy(t *testing.T) {
	up := websocket.Upgrader{}
	connected := make(chan string, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		connected <- r.TLS.ServerName
		_, _, _ = ws.ReadMessage()
		_ = ws.Close()
	}))
	server.StartTLS()
	defer server.Close()
	// The test certificate is for example.com.
	endpoint := strings.Replace(server.URL, "127.0.0.1", "example.com", 1)

	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.Host)
		tunnel(t, w, server.Listener.Addr().String())
	}))
	defer proxy.Close()

	stop := run(t, acs.Options{
		Discover: func(context.Context) (string, error) { return endpoint, nil },
		TLS:      server.Client().Transport.(*http.Transport).TLSClientConfig,
		Proxy:    func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) },
	})
	if name := <-connected; name != "example.com" {
		t.Errorf("server name %q", name)
	}
	stop()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("CONNECT example.com:"+port, asked.Load()); diff != "" {
		t.Error(diff)
	}
}

func TestUntrustedCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	server.StartTLS()
	defer server.Close()
	failed := make(chan error, 8)
	stop := run(t, acs.Options{
		Discover: func(context.Context) (string, error) { return server.URL, nil },
		TLS:      &tls.Config{MinVersion: tls.VersionTLS12},
		Dialed:   func(_ string, err error) { failed <- err },
	})
	defer stop()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("connected with %v", err)
	}
}
