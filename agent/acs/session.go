package acs

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"ecsagent/agent/acs/wire"
	"ecsagent/agent/uplink"
)

// Limits of a session (docs/spec/01 sections 2.2, 3.2, 3.4 and 3.5).
const (
	discoverTimeout = 126 * time.Second

	silence, silenceJitter     = 60 * time.Second, 60 * time.Second
	lifetime, lifetimeJitter   = 30 * time.Minute, 5 * time.Minute
	steadyFor, steadyForJitter = 60 * time.Second, 60 * time.Second // then the back-off starts over

	inactivePause = time.Hour

	// closeGrace is how long the peer has for answering a close frame.
	closeGrace = 10 * time.Second
	// A connection that ended cleanly is replaced after cleanPause, provided that it
	// lasted for settled; otherwise the back-off applies, so that a peer that
	// accepts and drops is not hammered.
	cleanPause, cleanPauseJitter = 100 * time.Millisecond, 400 * time.Millisecond
	settled                      = 5 * time.Second

	// handOver is the longest that the reader waits for the engine or for a record
	// to become durable. It is shorter than the silence that ends a connection.
	handOver = 30 * time.Second
	// queue is how many frames wait for the writer before the reader waits too.
	queue = 256
	// maxPending is how many update replies wait for the next connection.
	maxPending = 16
)

// Ends of a connection that are not errors of the network.
var (
	errSilent         = errors.New("no message for too long")
	errExpired        = errors.New("connection reached its age limit")
	errCloseRequested = errors.New("peer asked for a new connection")
)

// Session talks to ACS. Make one with New, then call Run once.
type Session struct {
	opts    Options
	log     *zap.Logger
	rand    uplink.Random
	dialer  uplink.Dialer
	errors  uplink.Backoff // after errors
	refused uplink.Backoff // after refusals that only a person can mend

	// heard is set by the first message on any connection: from then on ECS need
	// not send credentials with the connection (docs/spec/01 section 2.1).
	heard    atomic.Bool
	inactive bool // owned by Run

	// The manifest that waits for its verification; owned by the reader.
	verifying string
	offered   map[string]bool

	mu      sync.Mutex
	link    *link // the live connection, or nil
	pending []any // update replies for the next connection
}

// New returns a session that is not yet connected.
func New(opts Options) *Session {
	if opts.DockerVersion == nil {
		opts.DockerVersion = func() string { return "" }
	}
	if opts.Dialed == nil {
		opts.Dialed = func(string, error) {}
	}
	if opts.Inactive == nil {
		opts.Inactive = func(bool) {}
	}
	r := uplink.Random(opts.Rand)
	if r == nil {
		r = rand.Float64
	}
	return &Session{
		opts: opts, log: opts.Log, rand: r,
		dialer: uplink.Dialer{
			Region: opts.Region, Signing: opts.Signing, TLS: opts.TLS, Proxy: opts.Proxy, Dial: opts.Dial, WriteBuffer: writeBuffer,
		},
		errors:  uplink.Backoff{Min: 250 * time.Millisecond, Max: 2 * time.Minute, Jitter: 0.2, Multiplier: 1.5, Rand: r},
		refused: uplink.Backoff{Min: 5 * time.Second, Max: 15 * time.Minute, Jitter: 0.2, Multiplier: 2, Rand: r},
	}
}

// Run keeps the conversation up until ctx ends; it then drops the connection at
// once, without a close frame, and returns nil.
func (s *Session) Run(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		lived, err := s.once(ctx)
		if ctx.Err() != nil {
			return nil
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

// Connected reports whether there is a connection now.
func (s *Session) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link != nil
}

// once runs one connection to its end and returns how long it lasted; 0 means that
// there was none.
func (s *Session) once(ctx context.Context) (time.Duration, error) {
	l, err := s.connect(ctx)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if s.inactive {
		s.inactive = false
		s.opts.Inactive(false)
	}
	s.log.Info("connected to ACS")
	s.attach(l)
	err = l.serve(ctx)
	s.attach(nil)
	return max(time.Since(start), 1), err
}

// pause chooses how long to wait before the next connection (docs/spec/01 section
// 3.4).
func (s *Session) pause(err error, lived time.Duration, attempt int) time.Duration {
	if lived >= s.rand.Jitter(steadyFor, steadyForJitter) {
		s.errors.Reset()
		s.refused.Reset()
	}
	var e *wire.Exception
	if errors.As(err, &e) {
		switch e.Type {
		case wire.InactiveInstanceException:
			s.inactive = true
			s.opts.Inactive(true)
			s.log.Error("ECS says that this instance is deregistered", zap.Duration("pause", inactivePause), zap.Error(err))
			return inactivePause
		case wire.InvalidInstanceException, wire.InvalidClusterException, wire.AccessDeniedException:
			d := s.refused.Next()
			s.log.Error("ACS refuses this instance", zap.Duration("pause", d), zap.Int("attempt", attempt), zap.Error(err))
			return d
		}
	}
	if clean(err) && lived >= settled {
		s.errors.Reset()
		d := s.rand.Jitter(cleanPause, cleanPauseJitter)
		s.log.Info("connection to ACS ended", zap.Duration("pause", d), zap.Error(err))
		return d
	}
	d := s.errors.Next()
	s.log.Warn("no connection to ACS", zap.Duration("pause", d), zap.Int("attempt", attempt), zap.Error(err))
	return d
}

// clean reports whether a connection ended as connections do (docs/spec/01 section
// 3.3).
func clean(err error) bool {
	if errors.Is(err, errExpired) || errors.Is(err, errCloseRequested) {
		return true
	}
	var closed *websocket.CloseError
	return errors.As(err, &closed) && websocket.IsCloseError(closed, websocket.CloseNormalClosure,
		websocket.CloseGoingAway, websocket.CloseInternalServerErr, websocket.CloseAbnormalClosure)
}

// attach makes l the live connection and gives it what has waited for one.
func (s *Session) attach(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = l
	for l != nil && len(s.pending) > 0 && l.offer(s.pending[0], nil) {
		s.pending = s.pending[1:]
	}
}

// whenever sends a message on the live connection, or on the next one. It never
// blocks. written, when not nil, is called once the message has left or cannot.
func (s *Session) whenever(m any, written func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.link != nil && s.link.offer(m, written):
	case written != nil:
		written()
	case len(s.pending) < maxPending:
		s.pending = append(s.pending, m)
	default:
		s.log.Warn("reply dropped, too many wait for a connection")
	}
}
