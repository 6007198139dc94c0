package tcs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"ecsagent/agent/acs/wire"
	"ecsagent/agent/stats"
	"ecsagent/agent/uplink"
)

// Limits of a session (docs/spec/01 sections 4.1 and 4.3).
const (
	every           = 20 * time.Second
	connectEvery    = 3 // rounds
	discoverTimeout = 126 * time.Second

	silence, silenceJitter   = 60 * time.Second, 60 * time.Second
	lifetime, lifetimeJitter = 30 * time.Minute, 5 * time.Minute
	// closeGrace is how long the peer has for answering a close frame.
	closeGrace = 10 * time.Second
	// A connection that ended cleanly is replaced after cleanPause, provided that it
	// lasted for settled; otherwise the back-off applies, so that a peer that accepts
	// and drops is not hammered.
	cleanPause, cleanPauseJitter = 100 * time.Millisecond, 400 * time.Millisecond
	settled                      = 5 * time.Second
	// steady is how long a connection has to last for the back-off to start over.
	steady = time.Minute

	writeBuffer = 32768
	// maxFrame is the largest frame that is read: TCS sends acknowledgements.
	maxFrame = 1 << 20
)

// Ends of a connection that are not errors of the network.
var (
	errSilent   = errors.New("no message for too long")
	errExpired  = errors.New("connection reached its age limit")
	errInactive = errors.New("the instance is deregistered")
)

// Session talks to TCS. Make one with New, then call Run once.
type Session struct {
	opts    Options
	log     *zap.Logger
	rand    uplink.Random
	dialer  uplink.Dialer
	errors  uplink.Backoff // after errors
	refused uplink.Backoff // after refusals that only a person can mend
	out     *outbox

	reported atomic.Uint64 // the run of checks that was reported, plus one; 0: none

	connected atomic.Bool
	inactive  atomic.Bool
	changed   chan struct{} // holds one token: inactive changed
}

// New returns a session that is not yet connected.
func New(opts Options) *Session {
	if opts.DockerVersion == nil {
		opts.DockerVersion = func() string { return "" }
	}
	if opts.Dialed == nil {
		opts.Dialed = func(string, error) {}
	}
	r := uplink.Random(opts.Rand)
	if r == nil {
		r = rand.Float64
	}
	return &Session{
		opts: opts, log: opts.Log, rand: r, out: newOutbox(), changed: make(chan struct{}, 1),
		dialer: uplink.Dialer{
			Region: opts.Region, Signing: opts.Signing, TLS: opts.TLS, Proxy: opts.Proxy, Dial: opts.Dial, WriteBuffer: writeBuffer,
		},
		errors:  uplink.Backoff{Min: time.Second, Max: time.Minute, Jitter: 0.2, Multiplier: 2, Rand: r},
		refused: uplink.Backoff{Min: 5 * time.Second, Max: 15 * time.Minute, Jitter: 0.2, Multiplier: 2, Rand: r},
	}
}

// Connected reports whether there is a connection now.
func (s *Session) Connected() bool { return s.connected.Load() }

// SetInactive tells that ECS says of the instance that it is deregistered, or not any
// more. While it is, there is no connection. It never blocks.
func (s *Session) SetInactive(inactive bool) {
	if s.inactive.Swap(inactive) == inactive {
		return
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Run takes rounds and keeps the conversation up until ctx ends; it then drops the
// connection at once and returns nil.
func (s *Session) Run(ctx context.Context) error {
	var rounds sync.WaitGroup
	rounds.Go(func() { s.collect(ctx) })
	defer rounds.Wait()
	for attempt := 1; ; attempt++ {
		if !s.awaitActive(ctx) {
			return nil
		}
		lived, err := s.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errInactive) {
			continue
		}
		timer := time.NewTimer(s.pause(err, lived, attempt))
		if lived > 0 {
			attempt = 0
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// awaitActive waits until the instance is not deregistered; false when ctx ends.
func (s *Session) awaitActive(ctx context.Context) bool {
	for s.inactive.Load() {
		select {
		case <-ctx.Done():
			return false
		case <-s.changed:
		}
	}
	return ctx.Err() == nil
}

// collect takes a round now and then every 20 s, connected or not. What it takes is
// dated when it is taken.
func (s *Session) collect(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 1; ; n++ {
		s.round(ctx, n%connectEvery == 0)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Session) round(ctx context.Context, connect bool) {
	r := stats.Round{At: time.Now(), Idle: true}
	if s.opts.Metrics != nil {
		r = s.opts.Metrics.Round()
	}
	s.addVolumes(ctx, &r)
	s.addConnect(ctx, connect, &r)
	metrics, err := s.metricsRound(r)
	if err != nil {
		s.log.Error("metrics not encoded", zap.Error(err))
	}
	health, err := s.healthRound(s.opts.Tasks.Snapshots(), time.Now())
	if err != nil {
		s.log.Error("health not encoded", zap.Error(err))
	}
	if s.out.add(metrics, health) {
		s.log.Debug("metrics dropped, they wait for a connection for too long")
	}
}

// once runs one connection to its end and returns how long it lasted; 0 means that
// there was none.
func (s *Session) once(ctx context.Context) (time.Duration, error) {
	conn, target, err := s.connect(ctx)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	s.log.Info("connected to TCS")
	s.connected.Store(true)
	l := &link{s: s, conn: conn, target: target, active: make(chan struct{}, 1)}
	err = l.serve(ctx)
	s.connected.Store(false)
	return max(time.Since(start), 1), err
}

func (s *Session) connect(ctx context.Context) (*uplink.Conn, *url.URL, error) {
	discovery, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	endpoint, err := s.opts.Discover(discovery)
	if err == nil && endpoint == "" {
		err = errors.New("ECS named none")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("discover TCS endpoint: %w", err)
	}
	target, err := uplink.URL(endpoint, s.query())
	if err != nil {
		return nil, nil, err
	}
	conn, err := s.dialer.Open(ctx, target)
	if ctx.Err() == nil {
		s.opts.Dialed(endpoint, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("connect to %s: %w", endpoint, err)
	}
	conn.SetReadLimit(maxFrame)
	return conn, target, nil
}

// query says who calls (docs/spec/01 section 4.1).
func (s *Session) query() url.Values {
	q := url.Values{
		"agentHash": {s.opts.AgentHash}, "agentVersion": {s.opts.AgentVersion},
		"cluster": {s.opts.Cluster}, "containerInstance": {s.opts.InstanceARN},
	}
	if v := s.opts.DockerVersion(); v != "" {
		q.Set("dockerVersion", v)
	}
	return q
}

// pause chooses how long to wait before the next connection.
func (s *Session) pause(err error, lived time.Duration, attempt int) time.Duration {
	if lived >= steady {
		s.errors.Reset()
		s.refused.Reset()
	}
	var e *wire.Exception
	if errors.As(err, &e) && e.Type != wire.ServerException && e.Type != wire.BadRequestException {
		d := s.refused.Next()
		s.log.Error("ECS refuses telemetry of this instance", zap.Duration("pause", d), zap.Int("attempt", attempt), zap.Error(err))
		return d
	}
	if clean(err) && lived >= settled {
		s.errors.Reset()
		d := s.rand.Jitter(cleanPause, cleanPauseJitter)
		s.log.Info("connection to TCS ended", zap.Duration("pause", d), zap.Error(err))
		return d
	}
	d := s.errors.Next()
	s.log.Warn("no connection to TCS", zap.Duration("pause", d), zap.Int("attempt", attempt), zap.Error(err))
	return d
}

// clean reports whether a connection ended as connections do (docs/spec/01 section
// 3.3).
func clean(err error) bool {
	if errors.Is(err, errExpired) || errors.Is(err, errSilent) {
		return true
	}
	var closed *websocket.CloseError
	return errors.As(err, &closed) && websocket.IsCloseError(closed, websocket.CloseNormalClosure,
		websocket.CloseGoingAway, websocket.CloseInternalServerErr, websocket.CloseAbnormalClosure)
}
