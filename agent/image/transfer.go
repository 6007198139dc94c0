package image

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// standstill is how long a pull may make no progress before others may pull in its
// place.
const standstill = 10 * time.Second

// transfer is a pull under way, or in the queue for one.
type transfer struct {
	turn  *turn
	still *time.Timer // runs out when nothing moved for a while
	now   func() time.Time

	mu      sync.Mutex
	begun   bool
	moved   time.Time // when it last made progress
	far     runtime.PullProgress
	attempt int
	trouble string // what ended the attempt before
}

// transfers are the pulls under way, by what makes them one pull.
type transfers struct {
	mu    sync.Mutex
	byKey map[string]*transfer
}

func (ts *transfers) open(key string, turn *turn, now func() time.Time) *transfer {
	t := &transfer{turn: turn, now: now}
	t.still = time.AfterFunc(time.Hour, turn.aside)
	t.still.Stop()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.byKey[key] = t
	return t
}

func (ts *transfers) close(key string, t *transfer) {
	t.still.Stop()
	t.turn.leave()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.byKey[key] == t { // not that of a pull that was begun anew
		delete(ts.byKey, key)
	}
}

// text tells how the pull of a key goes; empty when there is none.
func (ts *transfers) text(key string) string {
	ts.mu.Lock()
	t := ts.byKey[key]
	ts.mu.Unlock()
	if t == nil {
		return ""
	}
	return t.text()
}

// begin marks the start of an attempt; err is what ended the one before.
func (t *transfer) begin(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.attempt++
	if err != nil {
		t.trouble = err.Error()
	}
	if !t.begun {
		t.begun, t.moved = true, t.now()
		t.still.Reset(standstill)
	}
}

// hear takes in progress.
func (t *transfer) hear(far runtime.PullProgress) {
	t.still.Reset(standstill)
	t.turn.again()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.far, t.moved = far, t.now()
}

// text tells how the pull goes: its place in the queue, or how far it is and what is
// the matter with it.
func (t *transfer) text() string {
	if place := t.turn.place(); place > 0 {
		return task.Ordinal(place) + " in queue"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var parts []string
	if t.far.Layers > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d layers", t.far.Complete, t.far.Layers))
	}
	if t.far.Total > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s MB", megabytes(t.far.Bytes), megabytes(t.far.Total)))
	}
	if still := t.now().Sub(t.moved); t.begun && still >= standstill {
		parts = append(parts, fmt.Sprintf("no progress for %s", still.Truncate(time.Second)))
	}
	if t.attempt > 1 {
		parts = append(parts, fmt.Sprintf("%s attempt after: %s", task.Ordinal(t.attempt), t.trouble))
	}
	return strings.Join(parts, ", ")
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }
