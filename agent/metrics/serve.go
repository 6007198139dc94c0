package metrics

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"ecsagent/agent/httpserver"
)

// Limits of the server: it has one client, which asks a few times a minute.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second
	idleTimeout  = 2 * time.Minute
	closeTimeout = 500 * time.Millisecond
	inFlight     = 4
	maxHeader    = 8 << 10
)

// Handler answers /metrics.
func (m *Meter) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: inFlight, Timeout: readTimeout}))
	return mux
}

// Serve answers on the listener until ctx ends.
func (m *Meter) Serve(ctx context.Context, l net.Listener, log *zap.Logger) error {
	server := &http.Server{
		Handler: m.Handler(), ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: zap.NewStdLog(log),
	}
	return httpserver.Serve(ctx, l, server, closeTimeout)
}
