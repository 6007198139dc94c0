package engine

import "context"

// places bounds how many calls of a kind run at once in the container runtime. Such
// a call is mostly the processors' and the disk's work there: too many at once get
// into each other's way, too few leave them idle.
type places chan struct{}

func newPlaces(n int) places { return make(places, n) }

// take waits for a place, which leave gives back.
func (p places) take(ctx context.Context) error {
	select {
	case p <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p places) leave() { <-p }
