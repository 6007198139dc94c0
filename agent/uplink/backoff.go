package uplink

import "time"

// Random draws uniformly from [0,1).
type Random func() float64

// Jitter returns d plus a random part of up to j (docs/spec/01 chapter 0).
func (r Random) Jitter(d, j time.Duration) time.Duration {
	return d + time.Duration(r()*float64(j))
}

// Backoff is the exponential pause of docs/spec/01 chapter 0. Its jitter is only
// ever added, which is why it is not a library's.
type Backoff struct {
	Min, Max   time.Duration
	Jitter     float64
	Multiplier float64
	Rand       Random

	value time.Duration
}

// Next returns the pause to make now and makes the following one longer.
func (b *Backoff) Next() time.Duration {
	v := max(b.value, b.Min)
	b.value = min(b.Max, time.Duration(float64(v)*b.Multiplier))
	return b.Rand.Jitter(v, time.Duration(float64(v)*b.Jitter))
}

// Reset makes the next pause the shortest again.
func (b *Backoff) Reset() { b.value = b.Min }
