package docker

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	goruntime "runtime"
	"sync/atomic"
	"time"

	"github.com/docker/docker/client"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.uber.org/zap"

	"ecsagent/agent/failpoint"
)

// idleConnections is how many connections to the engine stay open between bursts
// of calls: enough for 50 tasks that are created at once. They close after idleTime.
const (
	idleConnections = 64
	idleTime        = 30 * time.Second
)

// Options say how to reach the engine.
type Options struct {
	// Host is the engine's address as DOCKER_HOST has it (unix://, npipe://,
	// tcp://). Empty means the default of the operating system.
	Host string
	// TLS, when set, secures a tcp:// connection.
	TLS *tls.Config
	// Timeouts are the limits of the operations; zero fields take the defaults.
	Timeouts Timeouts
	Observe  Observer // may be nil
	// Returned is called whenever the engine was found again after its event stream
	// broke: it may be another one. It must not block; may be nil.
	Returned func()
	Log      *zap.Logger
}

// Client speaks to one Docker engine. It is safe for concurrent use.
type Client struct {
	host     string
	tls      *tls.Config
	limits   Timeouts
	log      *zap.Logger
	observe  Observer
	returned func()
	session  atomic.Pointer[session]
	answered atomic.Int64 // when the engine last answered a call, in Unix nanoseconds
}

// session is an engine of a known version. Watch replaces it when the engine shows
// another version after a reconnect.
type session struct {
	api     *connection
	version Version
	info    atomic.Pointer[Info] // nil: not asked yet
}

// New connects to the engine and settles the API version, with one Docker call. An
// engine that does not answer is an error for which errors.Is tells
// runtime.ErrUnavailable.
func New(ctx context.Context, opts Options) (*Client, error) {
	c := &Client{
		host:    opts.Host,
		tls:     opts.TLS,
		limits:  opts.Timeouts.or(DefaultTimeouts(goruntime.GOOS)),
		log:     opts.Log,
		observe: opts.Observe, returned: opts.Returned,
	}
	if c.host == "" {
		c.host = client.DefaultDockerHost
	}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	if err := c.negotiate(ctx); err != nil {
		return nil, fmt.Errorf("connect to docker at %q: %w", c.host, err)
	}
	return c, nil
}

// Close drops the idle connections. Operations under way are not affected.
func (c *Client) Close() {
	if err := c.api().Close(); err != nil {
		c.log.Debug("docker connections not closed", zap.Error(err))
	}
}

// api returns the client of the library for the settled API version.
func (c *Client) api() *connection { return c.session.Load().api }

// observed lets the client and its observer see the calls of a pool that is ready.
func (c *Client) observed(pool *http.Transport) client.Opt {
	return func(api *client.Client) error {
		if c.tls != nil { // which the library cannot see behind another transport
			if err := client.WithScheme("https")(api); err != nil {
				return err
			}
		}
		return client.WithHTTPClient(&http.Client{Transport: timed{pool, &c.answered, c.observe}, CheckRedirect: client.CheckRedirect})(api)
	}
}

// connection is a client of the library with its pool.
type connection struct {
	*client.Client
	pool *http.Transport
}

// Close drops the idle connections, which the library does not find behind timed.
func (c *connection) Close() error {
	c.pool.CloseIdleConnections()
	return c.Client.Close()
}

// dial makes a client of the library with a connection pool of its own. Without a
// version, the library's newest is used.
func (c *Client) dial(version string) (*connection, error) {
	pool := &http.Transport{
		MaxIdleConns:        idleConnections,
		MaxIdleConnsPerHost: idleConnections,
		IdleConnTimeout:     idleTime,
		TLSClientConfig:     c.tls,
	}
	api, err := client.NewClientWithOpts(
		client.WithHTTPClient(&http.Client{Transport: pool, CheckRedirect: client.CheckRedirect}),
		client.WithHost(c.host),
		c.observed(pool),
		client.WithUserAgent("ecs-agent"),
		client.WithVersion(version),
		// Nobody collects traces: leave out the work of making them for each call.
		client.WithTraceOptions(otelhttp.WithFilter(func(*http.Request) bool { return false })),
	)
	if err != nil {
		return nil, fmt.Errorf("use docker host: %w", err)
	}
	return &connection{api, pool}, nil
}

// call runs one Docker call under the operation's limit and names its failure.
func call[T any](ctx context.Context, op operation, do func(context.Context) (T, error)) (T, error) {
	ctx, cancel := op.bound(ctx)
	defer cancel()
	if err := failpoint.Before("docker", op.label); err != nil {
		var none T
		return none, op.failure(ctx, err)
	}
	v, err := do(ctx)
	if err == nil {
		err = failpoint.After("docker", op.label)
	}
	return v, op.failure(ctx, err)
}

// run is call for operations without a result.
func run(ctx context.Context, op operation, do func(context.Context) error) error {
	_, err := call(ctx, op, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx) })
	return err
}
