package docker

import (
	"context"
	"sync"
)

// queue is an unbounded buffer between one writer and one reader, so that a slow
// reader never makes Docker drop events (docs/spec/02 section 2.11).
type queue[T any] struct {
	mu    sync.Mutex
	items []T
	more  chan struct{} // holds a token when items may be non-empty
}

func newQueue[T any]() *queue[T] { return &queue[T]{more: make(chan struct{}, 1)} }

func (q *queue[T]) put(v T) {
	q.mu.Lock()
	q.items = append(q.items, v)
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// take waits for items and returns all there are; nil when ctx has ended.
func (q *queue[T]) take(ctx context.Context) []T {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.more:
		}
		q.mu.Lock()
		items := q.items
		q.items = nil
		q.mu.Unlock()
		if len(items) > 0 {
			return items
		}
	}
}
