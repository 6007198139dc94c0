package awsenv

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// Addresses of the instance and task metadata services, which are never reached
// through a proxy unless NO_PROXY says otherwise.
const defaultNoProxy = "169.254.169.254,169.254.170.2"

var errProxyUnderCGI = errors.New("refuse HTTP_PROXY: REQUEST_METHOD is set, so the value may come from a request")

// Proxy finds the proxy of a request from the environment, which it reads anew
// each time (docs/spec/01 section 2.4). An https request falls back to HTTP_PROXY,
// loopback is never proxied, and without NO_PROXY the metadata addresses and the
// Docker endpoint are added to no_proxy.
type Proxy struct {
	getenv  func(string) string
	noProxy string
}

// NewProxy makes a Proxy over an environment, usually os.Getenv. dockerHost is the
// Docker endpoint, such as unix:///var/run/docker.sock.
func NewProxy(getenv func(string) string, dockerHost string) *Proxy {
	p := &Proxy{getenv: getenv, noProxy: defaultNoProxy}
	if _, rest, found := strings.Cut(dockerHost, "://"); found {
		dockerHost = rest
	}
	if dockerHost != "" {
		p.noProxy += "," + dockerHost
	}
	return p
}

// ForRequest has the form that http.Transport and the websocket dialer want.
func (p *Proxy) ForRequest(r *http.Request) (*url.URL, error) { return p.ForURL(r.URL) }

// ForURL returns the proxy for an http, https, ws or wss URL, nil when there is
// none.
func (p *Proxy) ForURL(u *url.URL) (*url.URL, error) {
	plain, secure := p.variable("HTTP_PROXY"), p.variable("HTTPS_PROXY")
	fallback := secure == ""
	if fallback {
		secure = plain
	}
	if secure == "" && plain == "" {
		return nil, nil
	}
	cgi := p.getenv("REQUEST_METHOD") != ""
	config := httpproxy.Config{HTTPProxy: plain, HTTPSProxy: secure, NoProxy: p.exceptions(), CGI: cgi}
	target := *u
	switch target.Scheme {
	case "ws":
		target.Scheme = "http"
	case "wss":
		target.Scheme = "https"
	}
	proxy, err := config.ProxyFunc()(&target)
	if proxy != nil && fallback && cgi && target.Scheme == "https" {
		return nil, errProxyUnderCGI
	}
	return proxy, err
}

func (p *Proxy) exceptions() string {
	if v := p.getenv("NO_PROXY"); v != "" {
		return v
	}
	if v := p.getenv("no_proxy"); v != "" {
		return v + "," + p.noProxy
	}
	return p.noProxy
}

func (p *Proxy) variable(name string) string {
	if v := p.getenv(name); v != "" {
		return v
	}
	return p.getenv(strings.ToLower(name))
}
