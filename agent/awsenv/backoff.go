package awsenv

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is the exponential delay of docs/spec/01 chapter 0: a delay v grows
// from Min to Max by Multiplier, and each use returns v plus a random part of at
// most v*Jitter. It is not safe for concurrent use.
type Backoff struct {
	Min, Max   time.Duration
	Jitter     float64
	Multiplier float64

	next time.Duration
}

// Next returns the delay to wait now and makes the following one longer.
func (b *Backoff) Next() time.Duration {
	v := max(b.next, b.Min)
	b.next = min(b.Max, time.Duration(float64(v)*b.Multiplier))
	return Jitter(v, time.Duration(float64(v)*b.Jitter))
}

// Reset makes the next delay the shortest again.
func (b *Backoff) Reset() { b.next = 0 }

// Jitter returns d plus a random duration in [0, j).
func Jitter(d, j time.Duration) time.Duration {
	if j <= 0 {
		return d
	}
	return d + rand.N(j)
}

// Sleep waits for d; it returns early with the context's error when ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
