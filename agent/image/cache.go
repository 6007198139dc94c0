package image

import (
	"sync"

	"ecsagent/agent/runtime"
)

// cache remembers what Docker said of local images, by reference, until somebody
// says that images have changed.
type cache struct {
	mu     sync.Mutex
	images map[string]runtime.Image
	epoch  int // counts invalidations
}

func newCache() *cache { return &cache{images: make(map[string]runtime.Image)} }

func (c *cache) get(ref string) (runtime.Image, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	img, ok := c.images[ref]
	return img, ok
}

// mark is taken before Docker is asked: put ignores an answer that an
// invalidation has overtaken.
func (c *cache) mark() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

func (c *cache) put(ref string, img runtime.Image, mark int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == mark {
		c.images[ref] = img
	}
}

func (c *cache) forget(ref string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.images, ref)
	c.epoch++
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.images)
	c.epoch++
}
