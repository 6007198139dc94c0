// Package shared fetches values that several tasks want: each at most once at a time,
// and a burst of tasks together.
package shared

import (
	"context"
	"sync"
	"time"
)

// Result is one value, or why it could not be had.
type Result[V any] struct {
	Value V
	Err   error
}

// Fetch gets some values with one call, as far as it can. It answers for every key.
type Fetch[K comparable, V any] func(ctx context.Context, keys []K) map[K]Result[V]

// Values are values by key. They are safe for concurrent use.
//
// A value is given to whoever asks within a moment of the beginning of its fetch, and
// forgotten after that, so that nobody gets one that was replaced before that moment. An
// error is given only to those who wait for it.
type Values[K comparable, V any] struct {
	moment time.Duration

	mu   sync.Mutex
	open map[K]*flight[K, V] // under way, or landed a moment ago
}

// flight is one fetch; waiters is guarded by Values.mu, results by landed.
type flight[K comparable, V any] struct {
	keys    []K
	began   time.Time
	waiters int
	cancel  context.CancelFunc
	landed  chan struct{}
	results map[K]Result[V]
}

// New makes an empty set of values, each shared for a moment.
func New[K comparable, V any](moment time.Duration) *Values[K, V] {
	return &Values[K, V]{moment: moment, open: make(map[K]*flight[K, V])}
}

// Get returns the results of all keys. Those that nobody is fetching are divided into
// batches, which are fetched at the same time. The context of a fetch has the values of
// ctx and ends when nobody waits for it any more. When ctx ends first, its error is
// returned.
func (v *Values[K, V]) Get(ctx context.Context, keys []K, divide func([]K) [][]K, fetch Fetch[K, V]) (map[K]Result[V], error) {
	results := make(map[K]Result[V], len(keys))
	wanted := v.join(ctx, keys, divide, fetch)
	for f, keys := range wanted {
		select {
		case <-f.landed:
			for _, k := range keys {
				results[k] = f.results[k]
			}
		case <-ctx.Done():
		}
	}
	v.leave(wanted)
	return results, context.Cause(ctx)
}

// join finds the flight of each key, and begins those that are missing.
func (v *Values[K, V]) join(ctx context.Context, keys []K, divide func([]K) [][]K, fetch Fetch[K, V]) map[*flight[K, V]][]K {
	v.mu.Lock()
	defer v.mu.Unlock()
	wanted := make(map[*flight[K, V]][]K)
	var missing []K
	for _, k := range keys {
		if f := v.open[k]; f != nil && time.Since(f.began) < v.moment {
			wanted[f] = append(wanted[f], k)
		} else {
			missing = append(missing, k)
		}
	}
	if len(missing) > 0 {
		for _, batch := range divide(missing) {
			wanted[v.begin(ctx, batch, fetch)] = batch
		}
	}
	for f := range wanted {
		f.waiters++
	}
	return wanted
}

// begin needs the lock.
func (v *Values[K, V]) begin(ctx context.Context, keys []K, fetch Fetch[K, V]) *flight[K, V] {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight[K, V]{keys: keys, began: time.Now(), cancel: cancel, landed: make(chan struct{})}
	for _, k := range keys {
		v.open[k] = f
	}
	go func() { // leave waits for it
		defer close(f.landed)
		defer cancel()
		f.results = fetch(ctx, keys)
		v.land(f)
	}()
	return f
}

// land forgets failures at once and values when their moment is over.
func (v *Values[K, V]) land(f *flight[K, V]) {
	v.mu.Lock()
	defer v.mu.Unlock()
	left := v.moment - time.Since(f.began)
	for _, k := range f.keys {
		if f.results[k].Err != nil || left <= 0 {
			v.forget(f, k)
		}
	}
	if left > 0 {
		time.AfterFunc(left, func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.forget(f, f.keys...)
		})
	}
}

// forget needs the lock.
func (v *Values[K, V]) forget(f *flight[K, V], keys ...K) {
	for _, k := range keys {
		if v.open[k] == f {
			delete(v.open, k)
		}
	}
}

// leave ends what nobody waits for any more, and waits for its end.
func (v *Values[K, V]) leave(flights map[*flight[K, V]][]K) {
	for f := range flights {
		v.mu.Lock()
		f.waiters--
		last := f.waiters == 0
		if last {
			select {
			case <-f.landed:
			default:
				v.forget(f, f.keys...) // its results are those of a cancelled fetch
			}
		}
		v.mu.Unlock()
		if last {
			f.cancel()
			<-f.landed
		}
	}
}
