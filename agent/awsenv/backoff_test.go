package awsenv

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestBackoffStaysWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lowest := time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "min"))
		b := Backoff{
			Min: lowest, Max: lowest + time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "span")),
			Jitter: rapid.Float64Range(0, 1).Draw(t, "jitter"), Multiplier: rapid.Float64Range(1, 4).Draw(t, "multiplier"),
		}
		want := b.Min
		for range rapid.IntRange(1, 20).Draw(t, "uses") {
			got := b.Next()
			if got < want || got > want+time.Duration(float64(want)*b.Jitter) {
				t.Fatalf("delay %v, want from %v with jitter %v", got, want, b.Jitter)
			}
			want = min(b.Max, time.Duration(float64(want)*b.Multiplier))
		}
		b.Reset()
		if got := b.Next(); got > b.Min+time.Duration(float64(b.Min)*b.Jitter) {
			t.Fatalf("delay after reset %v, want about %v", got, b.Min)
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if passed := time.Since(start); passed != time.Second {
			t.Errorf("slept %v", passed)
		}
		if err := Sleep(t.Context(), time.Hour); err != nil {
			t.Errorf("error %v after the whole sleep", err)
		}
	})
}
