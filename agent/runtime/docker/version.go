package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	"go.uber.org/zap"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// The oldest engine API that the agent speaks, and the newest that it knows
// (docs/spec/02 section 2.13).
const (
	oldestAPI = "1.24"
	newestAPI = "1.51"
)

// maxVersionBody bounds what is read of the engine's answer, in bytes.
const maxVersionBody = 1 << 20

// Version is what the engine says of itself.
type Version struct {
	Server string // the engine's own version, e.g. 20.10.24
	API    string // the API version that the client speaks
	MinAPI string // oldest and newest API version of the engine
	MaxAPI string
	OS     string
	Arch   string
	Kernel string
}

// RemoteAPIs lists the known API versions (1.17 to 1.44) that the engine serves.
// On an engine that starts at 1.24 or later, and on every Windows engine, the ones
// before 1.24 count as served, by 1.24 (docs/spec/02 section 2.13).
func (v Version) RemoteAPIs() []string {
	var served []string
	for minor := 17; minor <= 44; minor++ {
		api := fmt.Sprintf("1.%d", minor)
		alias := minor < 24 && (v.OS == "windows" || versions.GreaterThanOrEqualTo(v.MinAPI, oldestAPI))
		if alias || versions.GreaterThanOrEqualTo(api, v.MinAPI) && versions.LessThanOrEqualTo(api, v.MaxAPI) {
			served = append(served, api)
		}
	}
	return served
}

// Version returns what the engine said of itself when the client connected to it
// last. It makes no call: Watch keeps it fresh across restarts of the engine.
func (c *Client) Version() Version { return c.session.Load().version }

// Ping asks the engine whether it answers.
func (c *Client) Ping(ctx context.Context) error {
	op := operation{name: "CannotGetDockerclientError", label: "listing", limit: c.limits.Ping}
	return run(ctx, op, func(ctx context.Context) error {
		_, err := c.api().Ping(ctx)
		return err
	})
}

// Answers reports why the engine does not answer. One that answered some call within the
// last while is not asked.
func (c *Client) Answers(ctx context.Context, within time.Duration) error {
	if ago := time.Now().UnixNano() - c.answered.Load(); ago >= 0 && ago < int64(within) {
		return nil
	}
	return c.Ping(ctx)
}

// negotiate asks the engine for its versions and, unless they are the known ones,
// puts a new session in place.
func (c *Client) negotiate(ctx context.Context) error {
	probe, err := c.dial("")
	if err != nil {
		return err
	}
	op := operation{name: "CannotGetDockerClientVersionError", label: "version", limit: c.limits.Version}
	v, err := call(ctx, op, func(ctx context.Context) (Version, error) { return c.askVersion(ctx, probe) })
	if cerr := probe.Close(); cerr != nil && err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := v.settle(); err != nil {
		return err
	}
	old := c.session.Load()
	if old != nil && old.version == v {
		old.info.Store(nil) // it may have started anew, with other settings
		return nil
	}
	api, err := c.dial(v.API)
	if err != nil {
		return err
	}
	c.session.Store(&session{api: api, version: v})
	c.log.Info("docker engine found", zap.String("version", v.Server), zap.String("api", v.API))
	if old != nil {
		if err := old.api.Close(); err != nil {
			c.log.Debug("docker connections not closed", zap.Error(err))
		}
	}
	return nil
}

// settle chooses the API version: the newest that both sides speak.
func (v *Version) settle() error {
	if v.MaxAPI == "" {
		v.MaxAPI = oldestAPI
	}
	if v.MinAPI == "" {
		v.MinAPI = oldestAPI
	}
	if versions.LessThan(v.MaxAPI, oldestAPI) || versions.GreaterThan(v.MinAPI, newestAPI) {
		return &runtime.Failure{
			Reason: task.Error{
				Name: "CannotGetDockerclientError",
				Message: fmt.Sprintf("(v%s) - the engine speaks API versions %s to %s, the agent %s to %s",
					newestAPI, v.MinAPI, v.MaxAPI, oldestAPI, newestAPI),
			},
			Kind: runtime.ErrInvalid,
		}
	}
	v.API = v.MaxAPI
	if versions.GreaterThan(v.API, newestAPI) {
		v.API = newestAPI
	}
	return nil
}

// askVersion asks without an API version in the path, which engines of every
// version answer.
func (c *Client) askVersion(ctx context.Context, probe *connection) (Version, error) {
	at, err := client.ParseHostURL(c.host)
	if err != nil {
		return Version{}, fmt.Errorf("read docker host: %w", err)
	}
	u := url.URL{Scheme: "http", Host: at.Host, Path: "/version"}
	switch at.Scheme {
	case "unix", "npipe":
		u.Host = client.DummyHost
	default:
		u.Path = path.Join("/", at.Path, "version")
		if c.tls != nil {
			u.Scheme = "https"
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Version{}, fmt.Errorf("make version request: %w", err)
	}
	resp, err := probe.HTTPClient().Do(req)
	if err != nil {
		return Version{}, errors.Join(runtime.ErrUnavailable, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxVersionBody))
	if err != nil {
		return Version{}, errors.Join(runtime.ErrUnavailable, err)
	}
	if resp.StatusCode != http.StatusOK {
		return Version{}, fmt.Errorf("engine answered %s to the version question: %.200q", resp.Status, body)
	}
	var said types.Version
	if err := json.Unmarshal(body, &said); err != nil {
		return Version{}, fmt.Errorf("read version answer %.200q: %w", body, err)
	}
	return Version{
		Server: said.Version, MinAPI: said.MinAPIVersion, MaxAPI: said.APIVersion,
		OS: said.Os, Arch: said.Arch, Kernel: said.KernelVersion,
	}, nil
}
