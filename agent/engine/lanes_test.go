package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestStartsGoBeforeCreates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1)
		if err := l.acquire(t.Context(), laneCreate); err != nil {
			t.Fatal(err)
		}
		var order []string
		wait := func(name string, kind lane) {
			go func() {
				_ = l.acquire(context.Background(), kind)
				order = append(order, name)
				l.release()
			}()
			synctest.Wait()
		}
		wait("create 1", laneCreate)
		wait("create 2", laneCreate)
		wait("start 1", laneStart)
		wait("start 2", laneStart)
		l.release()
		synctest.Wait()
		want := "start 1,start 2,create 1,create 2"
		got := ""
		for i, name := range order {
			if i > 0 {
				got += ","
			}
			got += name
		}
		if got != want {
			t.Errorf("order %s, want %s", got, want)
		}
		if l.free != 1 {
			t.Errorf("%d places free, want 1", l.free)
		}
	})
}

// However waiters come and go, never more than the bound run, and every place comes
// back.
func TestLanesKeepTheirBound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		bound := rapid.IntRange(1, 4).Draw(rt, "bound")
		callers := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 20).Draw(rt, "patience")
		synctest.Test(t, func(t *testing.T) {
			l := newLanes(bound)
			var running, most, refused atomic.Int32
			for i, patience := range callers {
				go func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(patience)*time.Second)
					defer cancel()
					if err := l.acquire(ctx, lane(i%2)); err != nil {
						if !errors.Is(err, context.DeadlineExceeded) {
							t.Error(err)
						}
						refused.Add(1)
						return
					}
					most.Store(max(most.Load(), running.Add(1)))
					time.Sleep(time.Duration(i%3+1) * time.Second)
					running.Add(-1)
					l.release()
				}()
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if most.Load() > int32(bound) || running.Load() != 0 || l.free != bound {
				t.Errorf("bound %d: %d at once, %d left, %d free", bound, most.Load(), running.Load(), l.free)
			}
		})
	})
}
