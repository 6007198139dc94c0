package network

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// SeenFor is how long a device that has no record yet is remembered: the device may
// be noticed before ACS announces it. It covers the period of the device scan.
const SeenFor = 35 * time.Second

// saveRetry is the pause before a failed write of a record is repeated.
const saveRetry = 10 * time.Second

// ErrClosed is returned when Run has ended.
var ErrClosed = errors.New("attachment records are closed")

// Store makes records durable.
type Store interface {
	SaveAttachment(a Attachment) error
	DeleteAttachment(key string) error
}

// Options configure Attachments.
type Options struct {
	Store Store
	Saved []Attachment // what the store held at start
	// Attached is told of each device that appeared in time and is not yet sent,
	// also once at start for those found earlier. It must not block.
	Attached func(Attachment)
	Log      *zap.Logger
}

// Attachments holds the records. Run owns them; every other method may be called
// from any goroutine.
type Attachments struct {
	opts    Options
	calls   chan func()
	done    chan struct{}
	records map[string]*Attachment
	seen    map[string]time.Time // devices without a record -> when seen
	dirty   map[string]time.Time // keys whose last write failed -> when to repeat it
	view    atomic.Pointer[[]Attachment]

	announced chan struct{}
}

// New returns the records that were saved. They live once Run is called.
func New(opts Options) *Attachments {
	a := &Attachments{
		opts:    opts,
		calls:   make(chan func()),
		done:    make(chan struct{}),
		records: make(map[string]*Attachment),
		seen:    make(map[string]time.Time),
		dirty:   make(map[string]time.Time),

		announced: make(chan struct{}, 1),
	}
	for _, saved := range opts.Saved {
		a.records[saved.Key()] = &saved
	}
	a.publish()
	return a
}

// Run serves until ctx ends. Records stay in the store.
func (a *Attachments) Run(ctx context.Context) error {
	defer close(a.done)
	for _, r := range a.records {
		if r.Status == StatusAttached && !r.Sent && r.ExpiresAt.After(time.Now()) {
			a.opts.Attached(*r)
		}
	}
	for {
		timer := time.NewTimer(a.expire())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case call := <-a.calls:
			call()
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Add records an announced attachment durably. One that is already recorded is a
// repeat and changes nothing; one whose time is up is not recorded. MAC addresses are
// used again: another attachment takes the place of the one that had the device before
// (docs/spec/05 section 9, Q04).
func (a *Attachments) Add(ctx context.Context, n Attachment) error {
	var err error
	return errors.Join(a.do(ctx, func() { err = a.add(n) }), err)
}

// Found tells that the network interface with the MAC is on the host. It returns
// its record, if there is one.
func (a *Attachments) Found(ctx context.Context, mac string) (Attachment, bool) {
	key := (&Attachment{MAC: mac}).Key()
	return a.found(ctx, key, func(r *Attachment) bool { return r.Kind != EBSVolume })
}

// FoundVolume tells that the volume with the id is staged on the host.
func (a *Attachments) FoundVolume(ctx context.Context, id string) (Attachment, bool) {
	return a.found(ctx, id, func(r *Attachment) bool { return r.Kind == EBSVolume })
}

// Gone tells that the network interface with the MAC is not on the host any more: it
// is in a task, or detached.
func (a *Attachments) Gone(ctx context.Context, mac string) error {
	return a.do(ctx, func() { delete(a.seen, (&Attachment{MAC: mac}).Key()) })
}

// Waiting reports whether an announced interface has not been seen yet. It never waits.
func (a *Attachments) Waiting() bool {
	return slices.ContainsFunc(a.All(), func(r Attachment) bool { return r.Kind != EBSVolume && r.Status == StatusNone && !r.Sent })
}

// Announced is for the one who looks for interfaces: it is told when one is waited for that
// has not been seen.
func (a *Attachments) Announced() <-chan struct{} { return a.announced }

// Sent tells that ECS has accepted the attachment with the ARN. Its deadline no
// longer counts.
func (a *Attachments) Sent(ctx context.Context, arn string) error {
	return a.do(ctx, func() {
		for key, r := range a.records {
			if r.ARN == arn && !r.Sent {
				r.Sent = true
				a.save(key)
			}
		}
	})
}

// RemoveTask forgets the attachments of a task, when the task is cleaned up.
func (a *Attachments) RemoveTask(ctx context.Context, taskARN string) error {
	return a.do(ctx, func() {
		for key, r := range a.records {
			if r.TaskARN == taskARN && taskARN != "" {
				a.remove(key)
			}
		}
	})
}

// All returns the records as they are now. It never waits.
func (a *Attachments) All() []Attachment { return *a.view.Load() }

// do runs fn on the goroutine of Run and waits for it.
func (a *Attachments) do(ctx context.Context, fn func()) error {
	finished := make(chan struct{})
	call := func() {
		fn()
		a.publish()
		close(finished)
	}
	select {
	case a.calls <- call:
		<-finished
		return nil
	case <-a.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Attachments) add(n Attachment) error {
	key := n.Key()
	if known := a.records[key]; known != nil && known.ARN == n.ARN {
		a.opts.Log.Debug("attachment is already recorded", zap.String("attachment", n.ARN), zap.String("device", key))
		return nil
	}
	if !n.ExpiresAt.After(time.Now()) {
		a.opts.Log.Warn("attachment expired before it was recorded", zap.String("attachment", n.ARN), zap.String("device", key))
		return nil
	}
	if err := a.opts.Store.SaveAttachment(n); err != nil {
		return err
	}
	a.records[key] = &n
	if _, ok := a.seen[key]; ok {
		delete(a.seen, key)
		a.attach(key, &n)
		return nil
	}
	if n.Kind != EBSVolume {
		select {
		case a.announced <- struct{}{}:
		default: // told, and not heard yet
		}
	}
	return nil
}

func (a *Attachments) found(ctx context.Context, key string, want func(*Attachment) bool) (Attachment, bool) {
	var (
		got Attachment
		ok  bool
	)
	err := a.do(ctx, func() {
		r := a.records[key]
		if r == nil || r.Sent {
			// Its attachment may be announced later.
			a.seen[key] = time.Now()
		}
		if r == nil {
			return
		}
		if !want(r) {
			return
		}
		if r.Status == StatusNone && !r.Sent && r.ExpiresAt.After(time.Now()) {
			a.attach(key, r)
		}
		got, ok = *r, true
	})
	return got, ok && err == nil
}

func (a *Attachments) attach(key string, r *Attachment) {
	r.Status = StatusAttached
	a.save(key)
	a.opts.Log.Info("attachment is on the host", zap.String("attachment", r.ARN), zap.String("device", key), zap.String("task", r.TaskARN))
	a.opts.Attached(*r)
}

// expire drops what is out of time and returns how long until the next deadline.
func (a *Attachments) expire() time.Duration {
	now := time.Now()
	next := time.Hour
	soonest := func(t time.Time) { next = min(next, max(0, t.Sub(now))) }
	for key, r := range a.records {
		switch {
		case r.Sent:
		case !r.ExpiresAt.After(now):
			a.opts.Log.Warn("attachment did not show up in time",
				zap.String("attachment", r.ARN), zap.String("device", key), zap.String("task", r.TaskARN))
			a.remove(key)
		default:
			soonest(r.ExpiresAt)
		}
	}
	for key, at := range a.seen {
		if until := at.Add(SeenFor); until.After(now) {
			soonest(until)
		} else {
			delete(a.seen, key)
		}
	}
	for key, at := range a.dirty {
		if !at.After(now) {
			a.save(key)
		}
		if again, still := a.dirty[key]; still {
			soonest(again)
		}
	}
	a.publish()
	return next
}

// save writes the record with the key, or its absence. A failed write is repeated
// later; until then the store holds an older state of it.
func (a *Attachments) save(key string) {
	var err error
	if r := a.records[key]; r != nil {
		err = a.opts.Store.SaveAttachment(*r)
	} else {
		err = a.opts.Store.DeleteAttachment(key)
	}
	if err == nil {
		delete(a.dirty, key)
		return
	}
	a.dirty[key] = time.Now().Add(saveRetry)
	a.opts.Log.Error("cannot save attachment record", zap.String("device", key), zap.Error(err))
}

func (a *Attachments) remove(key string) {
	delete(a.records, key)
	a.save(key)
}

// publish makes the view that All returns.
func (a *Attachments) publish() {
	view := make([]Attachment, 0, len(a.records))
	for _, key := range slices.Sorted(maps.Keys(a.records)) {
		view = append(view, *a.records[key])
	}
	a.view.Store(&view)
}
