package shared

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const moment = 5 * time.Second

// service is a fetch with a log of its calls.
type service struct {
	takes time.Duration
	fails map[string]error

	mu    sync.Mutex
	calls []string
	ended int // fetches that were cancelled
}

func (s *service) fetch(ctx context.Context, keys []string) map[string]Result[string] {
	s.mu.Lock()
	s.calls = append(s.calls, strings.Join(keys, " "))
	n := len(s.calls)
	s.mu.Unlock()
	results := make(map[string]Result[string])
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		s.mu.Lock()
		s.ended++
		s.mu.Unlock()
	}
	for _, k := range keys {
		results[k] = Result[string]{Value: fmt.Sprintf("%s of call %d", k, n), Err: errors.Join(s.fails[k], ctx.Err())}
	}
	return results
}

func (s *service) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.calls))
}

func pairs(keys []string) [][]string { return slices.Collect(slices.Chunk(keys, 2)) }

func kept(v *Values[string, string]) int { v.mu.Lock(); defer v.mu.Unlock(); return len(v.open) }

func want(t *testing.T, got map[string]Result[string], err error, values ...string) {
	t.Helper()
	var have []string
	for _, r := range got {
		have = append(have, r.Value)
	}
	if slices.Sort(have); err != nil || !slices.Equal(have, values) {
		t.Errorf("got %q (%v), want %q", have, err, values)
	}
}

// A burst shares calls, whoever comes after the moment gets what is there then.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, v := &service{takes: time.Second}, New[string, string](moment)
		var tasks sync.WaitGroup
		for range 50 {
			tasks.Go(func() {
				got, err := v.Get(t.Context(), []string{"a", "b"}, pairs, s.fetch)
				want(t, got, err, "a of call 1", "b of call 1")
			})
		}
		tasks.Wait()
		time.Sleep(moment - 2*time.Second)
		got, err := v.Get(t.Context(), []string{"b", "c"}, pairs, s.fetch)
		want(t, got, err, "b of call 1", "c of call 2")
		time.Sleep(time.Second) // the moment counts from the beginning of the call
		got, err = v.Get(t.Context(), []string{"a"}, pairs, s.fetch)
		want(t, got, err, "a of call 3")
		time.Sleep(time.Hour)
		if n := kept(v); n != 0 {
			t.Errorf("%d values are kept for ever", n)
		}
		if calls := s.told(); !slices.Equal(calls, []string{"a", "a b", "c"}) {
			t.Errorf("calls %q", calls)
		}
	})
}

func TestBatchesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, v := &service{takes: time.Second}, New[string, string](moment)
		begin := time.Now()
		got, err := v.Get(t.Context(), []string{"a", "b", "c", "d", "e"}, pairs, s.fetch)
		if err != nil || len(got) != 5 || time.Since(begin) != time.Second {
			t.Errorf("%v, %v after %v", got, err, time.Since(begin))
		}
		if calls := s.told(); !slices.Equal(calls, []string{"a b", "c d", "e"}) {
			t.Errorf("calls %q", calls)
		}
	})
}

// A value that is slower to come than the moment is for those who wait for it.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, v := &service{takes: 2 * moment}, New[string, string](moment)
		var tasks sync.WaitGroup
		tasks.Go(func() {
			got, err := v.Get(t.Context(), []string{"a"}, pairs, s.fetch)
			want(t, got, err, "a of call 1")
		})
		time.Sleep(moment)
		got, err := v.Get(t.Context(), []string{"a"}, pairs, s.fetch)
		want(t, got, err, "a of call 2")
		tasks.Wait()
		if n := kept(v); n != 0 {
			t.Errorf("%d values are kept", n)
		}
	})
}

// An error is for those who wait: the next one asks again.
func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		no := errors.New("no")
		s, v := &service{takes: time.Second, fails: map[string]error{"b": no}}, New[string, string](moment)
		var tasks sync.WaitGroup
		for range 3 {
			tasks.Go(func() {
				got, err := v.Get(t.Context(), []string{"a", "b"}, pairs, s.fetch)
				if err != nil || got["a"].Err != nil || !errors.Is(got["b"].Err, no) {
					t.Errorf("%v, %v", got, err)
				}
			})
		}
		tasks.Wait()
		s.fails = nil
		got, err := v.Get(t.Context(), []string{"a", "b"}, pairs, s.fetch)
		want(t, got, err, "a of call 1", "b of call 2")
	})
}

// Who gives up leaves the fetch to the others; the last one ends it, and it is nobody's
// answer.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, v := &service{takes: time.Second}, New[string, string](moment)
		first, cancel := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		tasks.Go(func() {
			if _, err := v.Get(first, []string{"a"}, pairs, s.fetch); !errors.Is(err, context.Canceled) {
				t.Errorf("the first got %v", err)
			}
		})
		synctest.Wait()
		tasks.Go(func() {
			got, err := v.Get(t.Context(), []string{"a"}, pairs, s.fetch)
			want(t, got, err, "a of call 1")
		})
		synctest.Wait()
		cancel()
		tasks.Wait()
		alone, cancel := context.WithCancel(t.Context())
		tasks.Go(func() {
			if _, err := v.Get(alone, []string{"b"}, pairs, s.fetch); !errors.Is(err, context.Canceled) {
				t.Errorf("the one alone got %v", err)
			}
		})
		synctest.Wait()
		cancel()
		tasks.Wait()
		if s.ended != 1 {
			t.Errorf("%d fetches were ended, want 1", s.ended)
		}
		got, err := v.Get(t.Context(), []string{"b"}, pairs, s.fetch)
		want(t, got, err, "b of call 3")
	})
}
