package ecsapi

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
)

// Limits of Discovery (docs/spec/01 section 1.8 and chapter 6, 16).
const (
	discoveryLifetime = 12 * time.Hour
	discoveryDeadline = 3 * awsenv.AttemptTimeout
	// failuresToForget is how many connects in a row must fail before an endpoint
	// is asked for again.
	failuresToForget = 3
)

// Discoverer is the call behind Discovery.
type Discoverer interface {
	DiscoverPollEndpoint(context.Context, *DiscoverPollEndpointInput) (*DiscoverPollEndpointOutput, error)
}

// Discovery finds the endpoints of the websocket sessions and remembers them for
// 12 h. An answer that cannot be refreshed is used further; one whose endpoints
// cannot be connected to is refreshed early. It is safe for concurrent use.
type Discovery struct {
	api Discoverer
	log *zap.Logger

	turn chan struct{} // holds one token; who has it may call the service

	mu       sync.Mutex
	answers  map[DiscoverPollEndpointInput]*discovered
	failures map[string]int // endpoint to connects that failed in a row
}

type discovered struct {
	out *DiscoverPollEndpointOutput
	at  time.Time
	old bool // to be refreshed at the next use
}

// NewDiscovery makes a Discovery with nothing remembered.
func NewDiscovery(api Discoverer, log *zap.Logger) *Discovery {
	return &Discovery{
		api: api, log: log, turn: make(chan struct{}, 1),
		answers: make(map[DiscoverPollEndpointInput]*discovered), failures: make(map[string]int),
	}
}

// Endpoints returns the endpoints for a container instance. Calls to the service
// happen one at a time.
func (d *Discovery) Endpoints(ctx context.Context, instanceARN, cluster string) (*DiscoverPollEndpointOutput, error) {
	key := DiscoverPollEndpointInput{Cluster: cluster, ContainerInstance: instanceARN}
	if out := d.fresh(key); out != nil {
		return out, nil
	}
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if out := d.fresh(key); out != nil {
		return out, nil
	}
	callCtx, cancel := context.WithTimeout(ctx, discoveryDeadline)
	defer cancel()
	out, err := d.api.DiscoverPollEndpoint(callCtx, &key)
	if err == nil {
		d.keep(key, out)
		return out, nil
	}
	d.mu.Lock()
	stale := d.answers[key]
	d.mu.Unlock()
	if stale == nil || ctx.Err() != nil {
		return nil, err
	}
	d.log.Warn("endpoints not refreshed, using the last known", zap.Error(err))
	return stale.out, nil
}

// Connected says that a session to the endpoint was established.
func (d *Discovery) Connected(endpoint string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.failures, endpoint)
}

// ConnectFailed says that no session to the endpoint could be established. After
// three times in a row the endpoint is asked for again.
func (d *Discovery) ConnectFailed(endpoint string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures[endpoint]++
	if d.failures[endpoint] < failuresToForget {
		return
	}
	delete(d.failures, endpoint)
	for _, a := range d.answers {
		if a.out.Endpoint == endpoint || a.out.TelemetryEndpoint == endpoint {
			a.old = true
		}
	}
}

func (d *Discovery) fresh(key DiscoverPollEndpointInput) *DiscoverPollEndpointOutput {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.answers[key]
	if a == nil || a.old || time.Since(a.at) >= discoveryLifetime {
		return nil
	}
	return a.out
}

func (d *Discovery) keep(key DiscoverPollEndpointInput, out *DiscoverPollEndpointOutput) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[key] = &discovered{out: out, at: time.Now()}
}
