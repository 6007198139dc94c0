package image

import (
	"context"
	"sync"
)

// flights runs at most one piece of work per key at a time and gives its result to
// everybody who asked for it meanwhile.
type flights[T any] struct {
	base context.Context // bounds the work; not bound to who asks
	done *sync.WaitGroup // counts work under way

	mu   sync.Mutex
	open map[string]*flight[T]
}

// flight is one piece of work; waiters is guarded by flights.mu, value and err by
// landed.
type flight[T any] struct {
	waiters int
	cancel  context.CancelFunc
	landed  chan struct{}
	value   T
	err     error
}

func newFlights[T any](base context.Context, done *sync.WaitGroup) *flights[T] {
	return &flights[T]{base: base, done: done, open: make(map[string]*flight[T])}
}

// do waits for the work of the key, starting it if nobody else has. When ctx ends
// first, do returns its error and the work goes on for those who still wait; if
// nobody does, the work is cancelled and its result forgotten.
func (f *flights[T]) do(ctx context.Context, key string, work func(context.Context) (T, error)) (T, error) {
	w := f.join(key, work)
	select {
	case <-w.landed:
		return w.value, w.err
	case <-ctx.Done():
		f.leave(key, w)
		var none T
		return none, ctx.Err()
	}
}

func (f *flights[T]) join(key string, work func(context.Context) (T, error)) *flight[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w, ok := f.open[key]; ok {
		w.waiters++
		return w
	}
	ctx, cancel := context.WithCancel(f.base)
	w := &flight[T]{waiters: 1, cancel: cancel, landed: make(chan struct{})}
	f.open[key] = w
	f.done.Go(func() {
		defer cancel()
		w.value, w.err = work(ctx)
		f.close(key, w)
		close(w.landed)
	})
	return w
}

func (f *flights[T]) leave(key string, w *flight[T]) {
	f.mu.Lock()
	w.waiters--
	last := w.waiters == 0
	f.mu.Unlock()
	if last {
		f.close(key, w)
		w.cancel()
	}
}

// close makes the next one who asks start anew.
func (f *flights[T]) close(key string, w *flight[T]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[key] == w {
		delete(f.open, key)
	}
}
