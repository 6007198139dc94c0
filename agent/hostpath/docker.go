package hostpath

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	askLimit   = 5 * time.Second
	maxAnswer  = 4 << 20
	bridgeName = "com.docker.network.bridge.name"
	isDefault  = "com.docker.network.bridge.default_bridge"
)

// docker asks a Docker engine one question. It is not the client that runs tasks:
// host preparation needs no more than this.
type docker struct {
	endpoint string

	mu    sync.Mutex
	known bool
	last  string
}

// bridge returns the interface of the default bridge network; empty: there is none.
// What was found once stays: the engine cannot change it while it has containers.
func (d *docker) bridge(ctx context.Context) (string, error) {
	d.mu.Lock()
	known, last := d.known, d.last
	d.mu.Unlock()
	if known && last != "" {
		return last, nil
	}
	name, err := d.ask(ctx)
	if err != nil {
		return "", fmt.Errorf("ask Docker for its default bridge: %w", err)
	}
	d.mu.Lock()
	d.known, d.last = true, name
	d.mu.Unlock()
	return name, nil
}

func (d *docker) ask(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	body, err := Ask(ctx, d.endpoint, http.MethodGet, "/networks?filters="+url.QueryEscape(`{"driver":["bridge"]}`))
	if err != nil {
		return "", err
	}
	return defaultBridge(body)
}

// Ask makes one request of the Docker engine at an endpoint and returns the answer's
// body. An answer that is no success is an *AnswerError.
func Ask(ctx context.Context, endpoint, method, path string) ([]byte, error) {
	network, address, err := dialAddress(endpoint)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return nil, &AnswerError{response.StatusCode, response.Status}
	}
	return body, nil
}

// AnswerError is an answer of a Docker engine that is no success.
type AnswerError struct {
	Code   int
	Status string
}

// Error implements error.
func (e *AnswerError) Error() string { return "it answers " + e.Status }

// defaultBridge finds the interface in a list of networks.
func defaultBridge(body []byte) (string, error) {
	var networks []struct{ Options map[string]string }
	if err := json.Unmarshal(body, &networks); err != nil {
		return "", fmt.Errorf("its list of networks: %w", err)
	}
	for _, n := range networks {
		if n.Options[isDefault] == "true" {
			return n.Options[bridgeName], nil
		}
	}
	return "", nil
}

func dialAddress(endpoint string) (network, address string, err error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return "", "", err
	case u.Scheme == "unix":
		return "unix", u.Path, nil
	case u.Scheme == "tcp" && u.Host != "":
		return "tcp", u.Host, nil
	}
	return "", "", fmt.Errorf("address %q: want unix:///PATH or tcp://HOST:PORT", endpoint)
}
