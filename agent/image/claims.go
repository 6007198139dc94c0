package image

import "sync"

// claims keep clean-up away from images that are being got. Both sides name images as
// name.local does. Nobody waits: an image that is wanted is not removed, and one that
// is being removed may be asked for, which disturbs the removal.
type claims struct {
	mu       sync.Mutex
	wanted   map[string]int      // how many want it
	removals map[string]*removal // under way
}

// removal is an image that is being removed; disturbed is guarded by claims.mu.
type removal struct {
	claims    *claims
	names     []string
	disturbed bool
}

func newClaims() *claims {
	return &claims{wanted: make(map[string]int), removals: make(map[string]*removal)}
}

// want keeps the image; whoever wants it must call leave.
func (c *claims) want(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted[name]++
	if r := c.removals[name]; r != nil {
		r.disturbed = true
	}
}

func (c *claims) leave(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wanted[name]--; c.wanted[name] == 0 {
		delete(c.wanted, name)
	}
}

// remove begins the removal of an image with all its names; nil when somebody wants
// it. A removal must be ended.
func (c *claims) remove(names []string) *removal {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range names {
		if c.wanted[n] > 0 || c.removals[n] != nil {
			return nil
		}
	}
	r := &removal{claims: c, names: names}
	for _, n := range names {
		c.removals[n] = r
	}
	return r
}

// goOn reports whether nobody has asked for the image since the removal began.
func (r *removal) goOn() bool {
	r.claims.mu.Lock()
	defer r.claims.mu.Unlock()
	return !r.disturbed
}

func (r *removal) end() {
	r.claims.mu.Lock()
	defer r.claims.mu.Unlock()
	for _, n := range r.names {
		delete(r.claims.removals, n)
	}
}
