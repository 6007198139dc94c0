package awsenv

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Limits of one HTTP attempt (docs/spec/01 section 1.1).
const (
	DialTimeout         = 30 * time.Second
	TLSHandshakeTimeout = 10 * time.Second
	AttemptTimeout      = 42 * time.Second
	keepAlive           = 30 * time.Second
	idleTimeout         = 90 * time.Second
	idlePerHost         = 16 // more than the state changes that are in flight at once
)

// HTTPOptions makes an HTTP client for AWS APIs.
type HTTPOptions struct {
	Proxy func(*http.Request) (*url.URL, error) // usually (*Proxy).ForRequest; nil means none
	TLS   *tls.Config                           // nil means Go's defaults
	// Timeout bounds one attempt, its body included; 0 means AttemptTimeout.
	Timeout time.Duration
}

// HTTPClient returns a client that speaks HTTP/1.1, keeps connections alive and
// does not follow redirects: a signed request is valid for one host only.
func HTTPClient(o HTTPOptions) *http.Client {
	if o.Timeout == 0 {
		o.Timeout = AttemptTimeout
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	dialer := &net.Dialer{Timeout: DialTimeout, KeepAlive: keepAlive}
	return &http.Client{
		Timeout: o.Timeout,
		Transport: &http.Transport{
			Proxy:               o.Proxy,
			DialContext:         dialer.DialContext,
			TLSClientConfig:     o.TLS,
			TLSHandshakeTimeout: TLSHandshakeTimeout,
			Protocols:           protocols,
			MaxIdleConnsPerHost: idlePerHost,
			IdleConnTimeout:     idleTimeout,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
