package engine

import (
	"context"
	"slices"
	"sync"
)

// lane is a kind of call that lanes bound.
type lane int

// A start goes before every create that waits: a task that got as far as that should
// run before the next one begins, or a burst of tasks all come up at its end.
const (
	laneStart lane = iota
	laneCreate
)

// lanes bounds how many creates and starts run at once. Each is mostly the
// processor's and the disk's work in the engine: more of them at once only
// get into each other's way.
type lanes struct {
	mu      sync.Mutex
	free    int
	waiting [2][]chan struct{} // by lane, the longest waiting first
}

func newLanes(n int) *lanes { return &lanes{free: n} }

// acquire waits for a place, which release gives back.
func (l *lanes) acquire(ctx context.Context, kind lane) error {
	l.mu.Lock()
	if l.free > 0 {
		l.free--
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	l.waiting[kind] = append(l.waiting[kind], turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		l.giveUp(kind, turn)
		return ctx.Err()
	}
}

// giveUp leaves the queue, or passes on a place that was given just then.
func (l *lanes) giveUp(kind lane, turn chan struct{}) {
	l.mu.Lock()
	i := slices.Index(l.waiting[kind], turn)
	if i >= 0 {
		l.waiting[kind] = slices.Delete(l.waiting[kind], i, i+1)
	}
	l.mu.Unlock()
	if i < 0 {
		l.release()
	}
}

func (l *lanes) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for kind := range l.waiting {
		if queue := l.waiting[kind]; len(queue) > 0 {
			close(queue[0])
			l.waiting[kind] = slices.Delete(queue, 0, 1)
			return
		}
	}
	l.free++
}
