package acs

import "time"

// random draws uniformly from [0,1).
type random func() float64

// jitter returns d plus a random part of up to j (docs/spec/01 chapter 0).
func (r random) jitter(d, j time.Duration) time.Duration {
	return d + time.Duration(r()*float64(j))
}

// backoff is the exponential pause of docs/spec/01 chapter 0. Its jitter is only
// ever added, which is why it is not a library's.
type backoff struct {
	min, max   time.Duration
	jitter     float64
	multiplier float64
	rand       random
	value      time.Duration
}

func (b *backoff) next() time.Duration {
	v := max(b.value, b.min)
	b.value = min(b.max, time.Duration(float64(v)*b.multiplier))
	return b.rand.jitter(v, time.Duration(float64(v)*b.jitter))
}

func (b *backoff) reset() { b.value = b.min }
