package image

import (
	"context"
	"slices"
	"sync"
)

// queue bounds the pulls that move data at the same time. Turns come in the order in
// which they were asked for. A pull that stands still steps aside, so that a registry
// that does not answer holds up nobody else's pulls. When it moves again it needs no
// new turn: for that time there are more pulls than the bound.
type queue struct {
	mu      sync.Mutex
	free    int // negative while there are more pulls than the bound
	waiting []*turn
}

// turn is a pull's place in the queue; holds and gone are guarded by queue.mu.
type turn struct {
	q     *queue
	come  chan struct{} // closed when the pull may begin
	holds bool          // it counts among those that move data
	gone  bool
}

func newQueue(size int) *queue { return &queue{free: size} }

// join gets in line. Whoever joins must leave.
func (q *queue) join() *turn {
	t := &turn{q: q, come: make(chan struct{})}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, t)
	q.advance()
	return t
}

// advance gives free places to those who wait. It is called with the lock held.
func (q *queue) advance() {
	for q.free > 0 && len(q.waiting) > 0 {
		next := q.waiting[0]
		q.waiting = slices.Delete(q.waiting, 0, 1)
		q.free--
		next.holds = true
		close(next.come)
	}
}

// wait waits for the turn.
func (t *turn) wait(ctx context.Context) error {
	select {
	case <-t.come:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// place is the position among those who wait, from 1; 0 for a pull under way.
func (t *turn) place() int {
	t.q.mu.Lock()
	defer t.q.mu.Unlock()
	return slices.Index(t.q.waiting, t) + 1
}

// aside lets others pull while this pull stands still.
func (t *turn) aside() { t.count(false) }

// again says that the pull moves again.
func (t *turn) again() { t.count(true) }

func (t *turn) count(moves bool) {
	t.q.mu.Lock()
	defer t.q.mu.Unlock()
	if t.gone || t.holds == moves {
		return
	}
	t.holds = moves
	if moves {
		t.q.free--
		return
	}
	t.q.free++
	t.q.advance()
}

// leave gives the place back, be it in the line.
func (t *turn) leave() {
	t.q.mu.Lock()
	defer t.q.mu.Unlock()
	t.gone = true
	if i := slices.Index(t.q.waiting, t); i >= 0 {
		t.q.waiting = slices.Delete(t.q.waiting, i, i+1)
	}
	if t.holds {
		t.holds = false
		t.q.free++
		t.q.advance()
	}
}
