package image

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"

	"ecsagent/agent/runtime"
)

// Retry says how often something is tried, and the waits between: First, then
// Factor times the one before, up to Max, each with a random part of up to a
// fifth on top.
type Retry struct {
	Attempts   int
	First, Max time.Duration
	Factor     float64
}

// Limits are the limits and retries of docs/spec/02 section 2.14. Waits belong to
// one operation; they are not shared between operations.
type Limits struct {
	Manifest      time.Duration // ECS_MANIFEST_PULL_TIMEOUT: all attempts
	ManifestRetry Retry
	Pull          time.Duration // ECS_IMAGE_PULL_TIMEOUT: all attempts
	PullRetry     Retry
	Tag           time.Duration // all attempts
	TagRetry      Retry
}

// DefaultLimits are the specified ones.
func DefaultLimits() Limits {
	return Limits{
		Manifest:      time.Minute,
		ManifestRetry: Retry{Attempts: 9, First: 10 * time.Millisecond, Max: 5 * time.Second, Factor: 3},
		Pull:          2 * time.Hour,
		PullRetry:     Retry{Attempts: 5, First: 1100 * time.Millisecond, Max: 5 * time.Second, Factor: 2},
		Tag:           30 * time.Second,
		TagRetry:      Retry{Attempts: 5, First: 100 * time.Millisecond, Max: 100 * time.Millisecond, Factor: 1},
	}
}

func (l Limits) or(d Limits) Limits {
	for _, f := range []struct{ v, d *time.Duration }{{&l.Manifest, &d.Manifest}, {&l.Pull, &d.Pull}, {&l.Tag, &d.Tag}} {
		if *f.v == 0 {
			*f.v = *f.d
		}
	}
	for _, f := range []struct{ v, d *Retry }{{&l.ManifestRetry, &d.ManifestRetry}, {&l.PullRetry, &d.PullRetry}, {&l.TagRetry, &d.TagRetry}} {
		if f.v.Attempts == 0 {
			*f.v = *f.d
		}
	}
	return l
}

// mayHeal reports whether the same attempt could succeed later. Unlike the agent
// of the specification, which tries everything nine times, a definite answer of
// the registry is final.
func mayHeal(err error) bool {
	for _, final := range []error{runtime.ErrNotFound, runtime.ErrDenied, runtime.ErrInvalid, context.Canceled} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// errLimit is the cause of a context that ended because all attempts together took
// too long.
var errLimit = errors.New("time for all attempts is used up")

// try runs attempt until it succeeds, fails for good, or the attempts or the time
// are used up. label names the operation in a time-out's text.
func (r Retry) try(ctx context.Context, limit time.Duration, label string, attempt func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLimit)
	defer cancel()
	wait := &backoff.ExponentialBackOff{InitialInterval: r.First, MaxInterval: r.Max, Multiplier: r.Factor, RandomizationFactor: 0}
	wait.Reset()
	for n := 1; ; n++ {
		err := attempt(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(context.Cause(ctx), errLimit):
			return runtime.TimedOut(label, limit, err)
		case ctx.Err() != nil, n >= r.Attempts, !mayHeal(err):
			return err
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errLimit) {
				return runtime.TimedOut(label, limit, err)
			}
			return err
		case <-time.After(jitter(wait.NextBackOff())):
		}
	}
}

// jitter adds up to a fifth at random.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/5+1) }
