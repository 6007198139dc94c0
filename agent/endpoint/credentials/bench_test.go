package credentials

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"ecsagent/agent/endpoint/audit"
	"ecsagent/agent/endpoint/gate"
)

// quiet is a ResponseWriter that keeps nothing.
type quiet struct{ header http.Header }

func (q *quiet) Header() http.Header         { return q.header }
func (q *quiet) WriteHeader(int)             {}
func (q *quiet) Write(p []byte) (int, error) { return len(p), nil }

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkRequest is everything that a request for credentials costs beside net/http.
func BenchmarkRequest(b *testing.B) {
	r := newRig(true)
	r.task("t1", "172.17.0.2")
	r.keys("t1")
	name := func() string { return "prod-a" }
	log := audit.New(audit.Options{Out: nowhere{}, Cluster: name, InstanceARN: name})
	defer log.Close()
	r.Handler.o.Audit = log
	g := gate.New(gate.Options{Credentials: r.Handler, Rate: gate.Rate{Steady: 1e9, Burst: 1e9}})
	req := httptest.NewRequest("GET", "http://169.254.170.2/v2/credentials/t1-role", nil)
	req.RemoteAddr = "172.17.0.2:43210"
	w := &quiet{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		g.ServeHTTP(w, req)
	}
}
