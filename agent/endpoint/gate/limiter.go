package gate

import (
	"hash/maphash"
	"sync"
	"time"
)

// Rate is how often something may happen.
type Rate struct {
	Steady float64 // per second
	Burst  float64
}

// maxBuckets bounds what a Limiter remembers. Who is forgotten starts anew with a full
// burst, so that a flood of made-up paths costs others nothing.
const maxBuckets = 8192

// Limiter holds a token bucket for each address and path (docs/spec/04 section 2.6).
// It is safe for concurrent use.
type Limiter struct {
	rate  Rate
	now   func() time.Time
	begin time.Time
	seed  maphash.Seed
	parts [16]limiterPart
}

// limiterPart is the part of the buckets whose keys end in the same bits. The buckets
// of young are moved from old when they are used; when young is full, old is forgotten.
type limiterPart struct {
	mu         sync.Mutex
	young, old map[uint64]bucket
}

type bucket struct {
	tokens float64
	at     time.Duration // since begin
}

// NewLimiter returns a limiter; now may be nil.
func NewLimiter(rate Rate, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{rate: rate, now: now, begin: now(), seed: maphash.MakeSeed()}
}

// Allow takes a token of the bucket of an address and a path, and reports whether
// there was one.
func (l *Limiter) Allow(address, path string) bool {
	var h maphash.Hash
	h.SetSeed(l.seed)
	_, _ = h.WriteString(address)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(path)
	key := h.Sum64()
	now := l.now().Sub(l.begin)

	p := &l.parts[key%uint64(len(l.parts))]
	p.mu.Lock()
	defer p.mu.Unlock()
	b, known := p.young[key]
	if !known {
		if b, known = p.old[key]; !known {
			b = bucket{tokens: l.rate.Burst, at: now}
		}
		p.grow(len(l.parts))
	}
	b.tokens = min(l.rate.Burst, b.tokens+max(0, now-b.at).Seconds()*l.rate.Steady)
	b.at = max(b.at, now)
	allowed := b.tokens >= 1
	if allowed {
		b.tokens--
	}
	p.young[key] = b
	return allowed
}

// grow makes room for one more young bucket.
func (p *limiterPart) grow(parts int) {
	if p.young == nil {
		p.young = make(map[uint64]bucket)
	}
	if len(p.young) >= maxBuckets/2/parts {
		p.old, p.young = p.young, make(map[uint64]bucket)
	}
}

// size is how many buckets are remembered.
func (l *Limiter) size() (n int) {
	for i := range l.parts {
		p := &l.parts[i]
		p.mu.Lock()
		n += len(p.young) + len(p.old)
		p.mu.Unlock()
	}
	return n
}
