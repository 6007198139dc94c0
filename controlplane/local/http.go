package local

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"ecsagent/controlplane/local/client"
	"ecsagent/controlplane/session/broker"
)

// eventPause is the longest silence of the event stream, so that either end
// notices when the other is gone.
const eventPause = 20 * time.Second

// handler is all that the listener serves.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.service)
	if s.options.AgentUpdate != "" {
		mux.HandleFunc("GET "+updatePath, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, s.options.AgentUpdate)
		})
	}
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]string{"status": "ok"})
	})
	mux.Handle("GET /_local/status", loopbackOnly(s.status))
	mux.Handle("GET /_local/events", loopbackOnly(s.events))
	mux.Handle("GET /_local/stats", loopbackOnly(s.stats))
	mux.Handle("POST /_local/shutdown", loopbackOnly(s.shutdown))
	if s.sessions != nil {
		mux.Handle(broker.Path, s.sessions)
	}
	if m := s.imds; m != nil {
		mux.Handle("/latest/", m)
		mux.Handle("PUT /_local/imds/{path...}", loopbackOnly(m.set))
		mux.Handle("DELETE /_local/imds/{path...}", loopbackOnly(m.set))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/ws") {
			s.hub.ServeHTTP(w, r)
			return
		}
		if s.services != nil && s.services.Serves(r) {
			s.services.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// loopbackOnly keeps out other machines, and web pages of any origin: those cannot
// set the header without the server's consent.
func loopbackOnly(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			http.Error(w, "this endpoint is for clients on the same machine", http.StatusForbidden)
			return
		}
		if r.Header.Get(client.LocalHeader) == "" {
			http.Error(w, "the header "+client.LocalHeader+" is missing", http.StatusForbidden)
			return
		}
		h(w, r)
	})
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"version": s.options.Version, "url": s.url, "region": s.service.Region(), "dataDir": s.options.DataDir, "pid": os.Getpid(),
	})
}

// stats shows what agents told of the usage of tasks.
func (s *Server) stats(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{"instances": s.service.Usage()})
}

// events streams every change as a line of JSON, after an empty line that says that
// the stream is open.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	changes := s.service.Watch(r.Context())
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	send := func(line []byte) bool {
		if _, err := w.Write(append(line, '\n')); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	pause := time.NewTicker(eventPause)
	defer pause.Stop()
	for ok := send(nil); ok; {
		select {
		case e, open := <-changes:
			line, err := json.Marshal(e)
			ok = open && err == nil && send(line)
		case <-pause.C:
			ok = send(nil)
		case <-s.stopping.Done():
			return
		}
	}
}

// shutdown asks the owner to end the server. The answer's body ends when the server
// has.
func (s *Server) shutdown(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n") // the client sees that it failed
	s.mu.Lock()
	s.lingering = append(s.lingering, conn)
	s.mu.Unlock()
	s.ask()
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}
