package gate

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type counted struct{ limited []string }

func (c *counted) Limited(r *http.Request) { c.limited = append(c.limited, r.URL.Path) }

func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })
}

func testGate(rate Rate, now func() time.Time) (*Gate, *counted) {
	audit := &counted{}
	return New(Options{
		Credentials: named("credentials"), Metadata: named("metadata"), Protection: named("protection"), Fault: named("fault"),
		Rate: rate, Audit: audit, Now: now,
	}), audit
}

func ask(h http.Handler, method, target string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://"+Address+"/", nil)
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
	for _, fn := range change {
		fn(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var unlimited = Rate{Steady: 1e9, Burst: 1e9}

func TestFamilies(t *testing.T) {
	g, _ := testGate(unlimited, nil)
	for path, want := range map[string]string{
		"/v1/credentials?id=a":                   "credentials",
		"/v2/credentials/a":                      "credentials",
		"/v2/credentials/":                       "credentials",
		"/v2/credentials/a/b":                    "credentials",
		"/v2/metadata":                           "metadata",
		"/v2/stats/x":                            "metadata",
		"/v3/":                                   "metadata",
		"/v4/a/task":                             "metadata",
		"/api/a/task-protection/v1/state":        "protection",
		"/api/a/fault/v1/network-latency/start":  "fault",
		"/api//task-protection/v1/state":         "", // cleaned first
		"/":                                      "404",
		"/v1/credentials/":                       "404",
		"/v1/metadata":                           "404",
		"/v5/a":                                  "404",
		"/api/a":                                 "404",
		"/api/a/other":                           "404",
		"/latest/meta-data":                      "404",
		"/v2":                                    "404",
		"/V4/a":                                  "404",
		"/v4" + strings.Repeat("a", 4000) + "/b": "404",
	} {
		w := ask(g, "GET", path)
		got := w.Body.String()
		if w.Code == http.StatusNotFound {
			got = "404"
		}
		if got != want {
			t.Errorf("%s: %d %q, want %q", path, w.Code, got, want)
		}
	}
	w := ask(g, "POST", "/nowhere", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "1.2.3.4") })
	if got := w.Body.String(); got != "404 page not found\n" {
		t.Errorf("body %q", got)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff",
		"X-Rate-Limit-Limit": "1000000000.00", "X-Rate-Limit-Duration": "1",
		"X-Rate-Limit-Request-Forwarded-For": "1.2.3.4", "X-Rate-Limit-Request-Remote-Addr": "192.0.2.1:1234",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestPathsAreCleaned(t *testing.T) {
	g, _ := testGate(unlimited, nil)
	for path, want := range map[string]string{
		"":                        "/",
		"//v4/a":                  "/v4/a",
		"/v4//a/../b/":            "/v4/b/",
		"/v4/./a?x=1&y=%2F":       "/v4/a?x=1&y=%2F",
		"/../../etc/passwd":       "/etc/passwd",
		"/v2/credentials/../../v": "/v",
		"//evil.example/x":        "/evil.example/x",
		"/v4/a b/..":              "/v4",
		"/v4/a/..":                "/v4",
	} {
		w := ask(g, "GET", path)
		if w.Code != http.StatusMovedPermanently || w.Header().Get("Location") != want || w.Body.Len() > 0 {
			t.Errorf("%q: %d, Location %q, body %q; want %q", path, w.Code, w.Header().Get("Location"), w.Body, want)
		}
		if w.Header().Get("X-Rate-Limit-Limit") != "" {
			t.Errorf("%q: a redirect is not limited", path)
		}
	}
	for _, path := range []string{"/v4/a/", "/v4/...", "/v4/a..b", "/v4/.hidden"} {
		if w := ask(g, "GET", path); w.Code != http.StatusOK {
			t.Errorf("%q: %d", path, w.Code)
		}
	}
}

func TestHosts(t *testing.T) {
	g, _ := testGate(unlimited, nil)
	g.o.Hosts = []string{"agent.internal"}
	local := func(r *http.Request) {
		*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.ParseIP("172.17.0.1"), Port: 51679})))
	}
	for host, want := range map[string]int{
		"169.254.170.2": 200, "169.254.170.2:80": 200, "127.0.0.1:51679": 200, "127.5.5.5": 200, "[::1]:51679": 200,
		"localhost": 200, "LocalHost:51679": 200, "": 200, "172.17.0.1": 200, "172.17.0.1:51679": 200, "agent.internal:80": 200,
		"evil.example": 403, "evil.example:80": 403, "169.254.170.2.evil.example": 403, "10.0.0.1": 403, "172.17.0.2": 403,
		"localhost.evil.example": 403, "[::2]": 403, "169.254.169.254": 403, " ": 403,
	} {
		w := ask(g, "GET", "/v4/a", local, func(r *http.Request) { r.Host = host })
		if w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestRates(t *testing.T) {
	now := time.Unix(1000, 0)
	g, audit := testGate(Rate{Steady: 40, Burst: 60}, func() time.Time { return now })
	from := func(address string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = address } }
	burst := func(path, address string) (n int) {
		for i := range 100 {
			w := ask(g, "GET", path, from(fmt.Sprintf("%s:%d", address, 2000+i)))
			if w.Code == http.StatusOK {
				n++
			} else if w.Code != http.StatusTooManyRequests || w.Body.String() != "You have reached maximum request limit." ||
				w.Header().Get("X-Rate-Limit-Limit") != "40.00" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Fatalf("%d %q %v", w.Code, w.Body, w.Header())
			}
		}
		return n
	}
	if n := burst("/v4/a", "10.0.0.1"); n != 60 {
		t.Errorf("%d of a burst answered, want 60", n)
	}
	if len(audit.limited) != 40 {
		t.Errorf("audit heard of %d", len(audit.limited))
	}
	// Other paths, callers and ids have budgets of their own, credentials as well.
	for _, c := range [][2]string{{"/v4/b", "10.0.0.1"}, {"/v4/a", "10.0.0.2"}, {"/v2/credentials/a", "10.0.0.1"},
		{"/v1/credentials?id=a", "10.0.0.1"}, {"/v1/credentials?id=b", "10.0.0.1"}, {"/v4/c", "2001:db8::1"}} {
		if n := burst(c[0], c[1]); n != 60 {
			t.Errorf("%v: %d answered, want 60", c, n)
		}
	}
	now = now.Add(time.Second)
	if n := burst("/v4/a", "10.0.0.1"); n != 40 {
		t.Errorf("%d answered after a second, want 40", n)
	}
	now = now.Add(time.Hour)
	if n := burst("/v4/a", "10.0.0.1"); n != 60 {
		t.Errorf("%d answered after an hour, want 60", n)
	}
}

// A flood of made-up ids takes bounded memory and nobody else's budget.
func TestUnknownIDsAreBounded(t *testing.T) {
	g, _ := testGate(Rate{Steady: 40, Burst: 60}, nil)
	for i := range 50_000 {
		if w := ask(g, "GET", fmt.Sprint("/nowhere/", i)); w.Code != http.StatusNotFound {
			t.Fatalf("%d: %d", i, w.Code)
		}
	}
	if n := g.others.size(); n > maxBuckets {
		t.Errorf("%d buckets remembered", n)
	}
	if n := g.credentials.size(); n != 0 {
		t.Errorf("%d buckets of credentials", n)
	}
}

func TestPanicIsOneRequests(t *testing.T) {
	g := New(Options{Metadata: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oops") }), Rate: unlimited})
	if w := ask(g, "GET", "/v4/a"); w.Code != 500 || w.Body.String() != "{}" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestSecondLimitAddsItsHeaders(t *testing.T) {
	h, r := http.Header{}, httptest.NewRequest("POST", "/", nil)
	RateHeaders(h, r, []string{"40.00"})
	RateHeaders(h, r, []string{"0.20"})
	if got := strings.Join(h["X-Rate-Limit-Limit"], ","); got != "40.00,0.20" {
		t.Errorf("limits %q", got)
	}
	for name, values := range h {
		if len(values) != 2 {
			t.Errorf("%s: %q", name, values)
		}
	}
}

// serve runs a gate on a listener and returns its address.
func serve(t *testing.T, g *Gate) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// raw sends bytes and returns the status line of the answer.
func raw(t *testing.T, address, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, request)
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line)
}

func TestBadInput(t *testing.T) {
	g, _ := testGate(unlimited, nil)
	address := serve(t, g)
	const host = " HTTP/1.1\r\nHost: 169.254.170.2\r\nConnection: close\r\n"
	flood := strings.Repeat("X-Flood: "+strings.Repeat("y", 90)+"\r\n", 2000)
	for name, c := range map[string]struct{ request, want string }{
		"good":             {"GET /v4/a" + host + "\r\n", "HTTP/1.1 200 OK"},
		"no host":          {"GET /v4/a HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK"},
		"bad host":         {"GET /v4/a HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "HTTP/1.1 403 Forbidden"},
		"odd method":       {"BREW /v4/a" + host + "\r\n", "HTTP/1.1 200 OK"},
		"traversal":        {"GET /v4/../../etc/passwd" + host + "\r\n", "HTTP/1.1 301 Moved Permanently"},
		"encoded":          {"GET /v4/%2e%2e/x" + host + "\r\n", "HTTP/1.1 301 Moved Permanently"},
		"no path":          {"GET" + host + "\r\n", "HTTP/1.1 400 Bad Request"},
		"bad escape":       {"GET /v4/%zz" + host + "\r\n", "HTTP/1.1 400 Bad Request"},
		"long path":        {"GET /v4/" + strings.Repeat("a", 100_000) + host + "\r\n", "HTTP/1.1 431 Request Header Fields Too Large"},
		"headers":          {"GET /v4/a" + host + flood + "\r\n", "HTTP/1.1 431 Request Header Fields Too Large"},
		"two lengths":      {"POST /v4/a" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 400 Bad Request"},
		"not http":         {"\x16\x03\x01\x02\x00\x01\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		"negative length":  {"POST /v4/a" + host + "Content-Length: -1\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		"smuggled":         {"POST /v4/a" + host + "Content-Length: 4\r\nTransfer-Encoding: gzip\r\n\r\nabcd", "HTTP/1.1 501 Not Implemented"},
		"absolute":         {"GET http://169.254.170.2/v4/a HTTP/1.1\r\nHost: 169.254.170.2\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK"},
		"absolute, rebind": {"GET http://evil.example/v4/a HTTP/1.1\r\nHost: 169.254.170.2\r\nConnection: close\r\n\r\n", "HTTP/1.1 403 Forbidden"},
	} {
		if got := raw(t, address, c.request); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Callers that say nothing, or next to nothing, are let go and keep nobody else out.
func TestSlowCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		g, _ := testGate(unlimited, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Serve(ctx, l) }()
		var slow []net.Conn
		for i := range 200 {
			c := l.dial(fmt.Sprintf("10.0.0.%d", i%2))
			slow = append(slow, c)
			if i%2 == 0 {
				_, _ = io.WriteString(c, "GET /v4/a HTTP/1.1\r\nHost: 169")
			}
		}
		good := l.dial("10.0.0.9")
		_, _ = io.WriteString(good, "GET /v4/a HTTP/1.1\r\nHost: 169.254.170.2\r\n\r\n")
		if line, err := bufio.NewReader(good).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Errorf("a good caller among slow ones got %q, %v", line, err)
		}
		begin := time.Now()
		for _, c := range slow {
			_, _ = io.Copy(io.Discard, c) // until the server closes
		}
		if took := time.Since(begin); took > readTimeout+time.Second {
			t.Errorf("slow callers held on for %v", took)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestConnectionsOfOneAddressAreBounded(t *testing.T) {
	b := newBounded(nil)
	for range maxPerAddress {
		if !b.take("a") {
			t.Fatal("refused below the bound")
		}
	}
	if b.take("a") || !b.take("b") {
		t.Error("the bound is per address")
	}
	b.leave("a")
	if !b.take("a") {
		t.Error("room that was left is not given again")
	}
}

// pipes is a listener of connections in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) dial(from string) net.Conn {
	client, server := net.Pipe()
	p.conns <- pipe{server, from}
	return client
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 51679} }

type pipe struct {
	net.Conn
	from string
}

func (p pipe) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(p.from), Port: 1} }
func (p pipe) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 51679} }

func FuzzPaths(f *testing.F) {
	for _, p := range []string{"/v4/a", "//", "/v2/credentials/../..", "*", "", "/api/x/fault/v1/y/start", "/v4/%2e%2e", "/.", "/..a/", "a"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		clean := canonical(p)
		if again := canonical(clean); again != clean {
			t.Errorf("%q cleans to %q and then to %q", p, clean, again)
		}
		if p != "*" && !strings.HasPrefix(clean, "/") || strings.HasPrefix(clean, "//") {
			t.Errorf("%q cleans to %q", p, clean)
		}
		g, _ := testGate(unlimited, nil)
		w := ask(g, "GET", strings.ReplaceAll(p, "?", ""))
		switch w.Code {
		case 200, 301, 404:
		default:
			t.Errorf("%q: %d", p, w.Code)
		}
	})
}
