package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// askLimit bounds a request that changes little.
	askLimit = 30 * time.Second
	// loadLimit bounds the loading of an image.
	loadLimit = 10 * time.Minute
	// stopLimit is what the engine gets beyond the grace that it gives.
	stopLimit = 10 * time.Second

	maxAnswer = 1 << 20
)

// Engine is a Docker engine, by the path of its socket.
type Engine string

// NewEngine returns the engine at an address such as unix:///var/run/docker.sock.
func NewEngine(endpoint string) (Engine, error) {
	path, ok := strings.CutPrefix(endpoint, "unix://")
	if !ok {
		return "", fmt.Errorf("DOCKER_HOST=%s: want unix://PATH, which is mounted into the agent's container", endpoint)
	}
	return Engine(path), nil
}

// answerError is an answer that is no success.
type answerError struct {
	code int
	text string
}

func (e *answerError) Error() string { return "Docker answers: " + e.text }

func notFound(err error) bool {
	e := (*answerError)(nil)
	return errors.As(err, &e) && e.code == http.StatusNotFound
}

// ask makes a request. The caller closes the body.
func (e Engine) ask(ctx context.Context, method, path string, body io.Reader, kind string) (io.ReadCloser, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", string(e))
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp.Body, nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	answer := struct{ Message string }{resp.Status}
	_ = json.Unmarshal(text, &answer) // the status will do
	return nil, errors.Join(&answerError{resp.StatusCode, answer.Message}, err, resp.Body.Close())
}

// call makes a request with JSON both ways.
func (e Engine) call(ctx context.Context, limit time.Duration, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var body io.Reader
	kind := ""
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, kind = bytes.NewReader(text), "application/json"
	}
	answer, err := e.ask(ctx, method, path, body, kind)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(answer, maxAnswer))
	if err = errors.Join(err, answer.Close()); err != nil || out == nil {
		return err
	}
	return json.Unmarshal(text, out)
}

// Has reports whether the engine has an image.
func (e Engine) Has(ctx context.Context, image string) (bool, error) {
	err := e.call(ctx, askLimit, http.MethodGet, "/images/"+url.PathEscape(image)+"/json", nil, nil)
	if notFound(err) {
		return false, nil
	}
	return err == nil, err
}

// Load loads the images of an archive.
func (e Engine) Load(ctx context.Context, file string) (err error) {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	answer, err := e.ask(ctx, http.MethodPost, "/images/load?quiet=1", io.NopCloser(f), "application/x-tar")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, answer.Close()) }()
	// Errors come behind the success that was answered first.
	for d := json.NewDecoder(io.LimitReader(answer, maxAnswer)); ; {
		var line struct{ Error string }
		err := d.Decode(&line)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read Docker's answer: %w", err)
		}
		if line.Error != "" {
			return errors.New("Docker says: " + line.Error) //nolint:staticcheck // a name
		}
	}
}
