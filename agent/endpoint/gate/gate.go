package gate

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Audit hears of requests that were refused for their rate, whatever their path.
type Audit interface {
	Limited(r *http.Request)
}

// Options say what to serve. Families that are nil do not exist: their paths are not
// found.
type Options struct {
	Credentials http.Handler // /v1/credentials and /v2/credentials/...
	Metadata    http.Handler // /v2/metadata..., /v2/stats..., /v3/... and /v4/...
	Protection  http.Handler // /api/<endpoint id>/task-protection/...
	Fault       http.Handler // /api/<endpoint id>/fault/...

	Rate  Rate
	Audit Audit
	// Hosts are names in Host headers that are taken besides the link-local address,
	// loopback and the address that the connection came in on.
	Hosts []string
	Log   *zap.Logger
	Now   func() time.Time // nil is time.Now
}

// Address is where containers find the agent.
const Address = "169.254.170.2"

// Gate is the handler of all requests of tasks.
type Gate struct {
	o Options
	// Credentials have a budget of their own, which nothing else can use up.
	credentials, others *Limiter
	limit               []string // the value of X-Rate-Limit-Limit
}

// New makes a gate.
func New(o Options) *Gate {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Gate{
		o: o, credentials: NewLimiter(o.Rate, o.Now), others: NewLimiter(o.Rate, o.Now),
		limit: []string{fmt.Sprintf("%.2f", o.Rate.Steady)},
	}
}

// ServeHTTP implements http.Handler.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer g.recover(w, r)
	if !g.hostAllowed(r) {
		w.Header()["Content-Type"] = plainText
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("host not allowed: use " + Address))
		return
	}
	if clean := canonical(r.URL.Path); clean != r.URL.Path {
		redirect(w, r, clean)
		return
	}
	family, kind := g.family(r.URL.Path)
	RateHeaders(w.Header(), r, g.limit)
	if !g.allow(r, kind) {
		TooMany(w, "You have reached maximum request limit.")
		if g.o.Audit != nil {
			g.o.Audit.Limited(r)
		}
		return
	}
	if family == nil {
		NotFound(w)
		return
	}
	family.ServeHTTP(w, r)
}

func (g *Gate) allow(r *http.Request, kind kind) bool {
	address := Peer(r)
	switch kind {
	case kindCredentialsV1:
		// One path for all ids: each id has its own bucket, as in later versions.
		return g.credentials.Allow(address, r.URL.Path+"?"+r.URL.RawQuery)
	case kindCredentials:
		return g.credentials.Allow(address, r.URL.Path)
	default:
		return g.others.Allow(address, r.URL.Path)
	}
}

// Peer is the address a request came from, without its port.
func Peer(r *http.Request) string {
	if i := strings.LastIndexByte(r.RemoteAddr, ':'); i >= 0 {
		return r.RemoteAddr[:i]
	}
	return r.RemoteAddr
}

type kind int

const (
	kindOther kind = iota
	kindCredentialsV1
	kindCredentials
)

// family finds who answers a path; nil when nobody does.
func (g *Gate) family(p string) (http.Handler, kind) {
	switch {
	case strings.HasPrefix(p, "/v2/credentials/"):
		return g.o.Credentials, kindCredentials
	case strings.HasPrefix(p, "/v4/"), strings.HasPrefix(p, "/v3/"), strings.HasPrefix(p, "/v2/"):
		return g.o.Metadata, kindOther
	case p == "/v1/credentials":
		return g.o.Credentials, kindCredentialsV1
	case strings.HasPrefix(p, "/api/"):
		_, rest, _ := strings.Cut(p[len("/api/"):], "/")
		if strings.HasPrefix(rest, "task-protection/") {
			return g.o.Protection, kindOther
		}
		if strings.HasPrefix(rest, "fault/") {
			return g.o.Fault, kindOther
		}
	}
	return nil, kindOther
}

// hostAllowed refuses names, which a page in a browser could have rebound to an
// address of this host.
func (g *Gate) hostAllowed(r *http.Request) bool {
	if r.Host == Address || r.Host == "" {
		return true // HTTP/1.0 needs no Host, and no browser sends none
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	for _, name := range g.o.Hosts {
		if strings.EqualFold(host, name) {
			return true
		}
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	address = address.Unmap()
	if address.IsLoopback() || host == Address {
		return true
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return false
	}
	own, err := netip.ParseAddrPort(local.String())
	return err == nil && own.Addr().Unmap() == address
}

// canonical is the path without empty, "." and ".." segments; a slash at the end stays.
func canonical(p string) string {
	if p == "" {
		return "/"
	}
	if p == "*" || tidy(p) {
		return p
	}
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// tidy reports whether there is nothing to clean, without making a new string.
func tidy(p string) bool {
	return p[0] == '/' && !strings.Contains(p, "//") && !strings.Contains(p, "/.")
}

// redirect sends the caller to a clean path (docs/spec/04 section 0.2).
func redirect(w http.ResponseWriter, r *http.Request, clean string) {
	to := url.URL{Path: clean, RawQuery: r.URL.RawQuery}
	h := w.Header()
	h["Location"] = []string{to.String()}
	h["Content-Type"] = nil
	w.WriteHeader(http.StatusMovedPermanently)
}

// recover turns a panic of a handler into that request's failure.
func (g *Gate) recover(w http.ResponseWriter, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(cause)
	}
	g.o.Log.Error("request panicked", zap.String("method", r.Method), zap.Any("error", cause), zap.ByteString("stack", debug.Stack()))
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = w.Write([]byte("{}"))
}
