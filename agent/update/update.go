// Package update stages and performs updates of the agent that ECS asks for
// (docs/spec/01 section 2.8.7, docs/spec/03 section 5.9).
//
//	none ──Stage──▶ downloading ──hash is right──▶ downloaded ──Perform──▶ exit 42
//	  ▲                  │ failure, Nack               │
//	  └──────────────────┴────────another Stage────────┘
//
// The download runs in the background: the conversation with ECS goes on, and the
// answer takes whichever connection is there when it ends.
package update

import (
	"context"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// downloadTimeout bounds one download.
	downloadTimeout = 15 * time.Minute
	// ackTimeout is how long the exit waits for the last answer to be written.
	ackTimeout = 5 * time.Second
	// backlog is how many messages may wait for Run; more are dropped, and ECS
	// sends them again.
	backlog = 16
)

// Message is a StageUpdateMessage or a PerformUpdateMessage.
type Message struct {
	ID        string
	Cluster   string
	Instance  string
	Location  string // URL of the update
	Signature string // lower-case hexadecimal SHA-256 of the update
}

// Reply answers a message: with an Ack when Reason is empty, else with a Nack.
type Reply struct {
	Message
	Reason string
}

// Send takes a reply to ECS. It must not block; written, when not nil, is called
// once the reply has left or cannot leave.
type Send func(r Reply, written func())

// Options configure an Updater.
type Options struct {
	// Enabled is false unless the operator has configured updates: every message
	// is then refused, as it is without a Dir.
	Enabled bool
	Dir     string       // where updates are staged
	Client  *http.Client // its TLS verification must be on
	// DualStack rewrites S3 locations for hosts that have IPv6 only.
	DualStack bool
	// Exit is called once an update is to be performed: the process must end with
	// code 42.
	Exit func()
	Log  *zap.Logger
}

type phase uint8

const (
	idle phase = iota
	downloading
	downloaded
)

// Updater is the state machine. Its state outlives connections, not the process.
type Updater struct {
	opts  Options
	calls chan func(context.Context)

	// Owned by Run.
	phase   phase
	current Message // identity is its Signature
	send    Send    // answers current
	cancel  context.CancelFunc
	fetches sync.WaitGroup
}

// New returns an Updater that works while Run runs.
func New(opts Options) *Updater {
	opts.Enabled = opts.Enabled && opts.Dir != ""
	return &Updater{opts: opts, calls: make(chan func(context.Context), backlog)}
}

// Run serves until ctx ends; a download under way is abandoned.
func (u *Updater) Run(ctx context.Context) error {
	defer u.fetches.Wait()
	defer u.reset()
	for {
		select {
		case <-ctx.Done():
			return nil
		case call := <-u.calls:
			call(ctx)
		}
	}
}

// Stage asks for an update to be downloaded. It never blocks.
func (u *Updater) Stage(m Message, send Send) {
	u.post("stage", func(ctx context.Context) { u.stage(ctx, m, send) })
}

// Perform asks for the downloaded update to be put to use. It never blocks.
func (u *Updater) Perform(m Message, send Send) {
	u.post("perform", func(ctx context.Context) { u.perform(ctx, m, send) })
}

func (u *Updater) post(what string, call func(context.Context)) {
	select {
	case u.calls <- call:
	default:
		u.opts.Log.Warn("too many update messages, one is dropped", zap.String("message", what))
	}
}

func (u *Updater) stage(ctx context.Context, m Message, send Send) {
	nack := func(reason string) {
		u.opts.Log.Warn("update refused", zap.String("reason", reason))
		u.reset()
		send(Reply{m, reason}, nil)
	}
	switch {
	case !u.opts.Enabled:
		nack("Updates are disabled")
		return
	case m.Location == "":
		nack("Invalid update: no location")
		return
	case m.Signature == "":
		nack("Invalid update: no signature")
		return
	case u.phase != idle && m.Signature == u.current.Signature:
		send(Reply{Message: m}, nil)
		return
	case u.phase != idle:
		u.send(Reply{u.current, "New update arrived: " + m.ID}, nil)
	}
	u.reset()
	u.phase, u.current, u.send = downloading, m, send

	fctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	u.cancel = cancel
	u.opts.Log.Info("update download started", zap.String("location", m.Location))
	u.fetches.Go(func() {
		defer cancel()
		err := u.fetch(fctx, m)
		select {
		case u.calls <- func(context.Context) { u.fetched(m, err) }:
		case <-ctx.Done():
		}
	})
}

// fetched takes the result of a download; one that was superseded is ignored.
func (u *Updater) fetched(m Message, err error) {
	if u.phase != downloading || m != u.current {
		return
	}
	send := u.send
	if err != nil {
		u.opts.Log.Error("update download failed", zap.Error(err))
		u.reset()
		send(Reply{m, "Unable to download: " + err.Error()}, nil)
		return
	}
	u.opts.Log.Info("update downloaded")
	u.phase = downloaded
	send(Reply{Message: m}, nil)
}

func (u *Updater) perform(ctx context.Context, m Message, send Send) {
	switch {
	case !u.opts.Enabled:
		send(Reply{m, "Updates are disabled"}, nil)
		return
	case u.phase != downloaded:
		send(Reply{m, "Cannot perform update; update not downloaded"}, nil)
		return
	}
	u.opts.Log.Info("update will be performed, agent exits")
	written := make(chan struct{})
	send(Reply{Message: m}, sync.OnceFunc(func() { close(written) }))
	timer := time.NewTimer(ackTimeout)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
	case <-ctx.Done():
	}
	u.opts.Exit()
}

// reset goes back to none; a download under way ends unheard.
func (u *Updater) reset() {
	if u.cancel != nil {
		u.cancel()
	}
	u.phase, u.current, u.send, u.cancel = idle, Message{}, nil, nil
}
