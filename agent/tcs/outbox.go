package tcs

import (
	"slices"
	"strings"
	"sync"
)

// maxRounds is how many rounds of metrics wait for a connection: five minutes' worth
// (docs/spec/01 section 4.3).
const maxRounds = 15

func sortByARN(list []taskHealth) {
	slices.SortFunc(list, func(a, b taskHealth) int { return strings.Compare(a.ARN, b.ARN) })
}

// outbox holds what waits to be sent.
type outbox struct {
	ready chan struct{} // holds one token: there may be something

	mu      sync.Mutex
	metrics [][]message // rounds, the oldest first
	health  []message   // of the latest round: each tells everything
}

func newOutbox() *outbox { return &outbox{ready: make(chan struct{}, 1)} }

// add queues a round. When too many wait, the oldest is dropped.
func (o *outbox) add(metrics, health []message) (dropped bool) {
	o.mu.Lock()
	if len(metrics) > 0 {
		o.metrics = append(o.metrics, metrics)
	}
	if dropped = len(o.metrics) > maxRounds; dropped {
		o.metrics = slices.Delete(o.metrics, 0, 1)
	}
	o.health = health
	o.mu.Unlock()
	o.wake()
	return dropped
}

func (o *outbox) wake() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// first returns the message to be sent next; false when there is none.
func (o *outbox) first() (message, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.metrics) > 0 {
		return o.metrics[0][0], true
	}
	if len(o.health) > 0 {
		return o.health[0], true
	}
	return message{}, false
}

// sent removes a message that first returned, unless its round was dropped meanwhile.
func (o *outbox) sent(m message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	same := func(list []message) bool { return len(list) > 0 && &list[0].body[0] == &m.body[0] }
	switch {
	case len(o.metrics) > 0 && same(o.metrics[0]):
		if o.metrics[0] = o.metrics[0][1:]; len(o.metrics[0]) == 0 {
			o.metrics = o.metrics[1:]
		}
	case same(o.health):
		o.health = o.health[1:]
	}
}
