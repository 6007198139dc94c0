package engine

import "sync"

// mailbox is an unbounded queue with one reader. Senders never wait.
type mailbox struct {
	mu     sync.Mutex
	items  []message
	closed bool
	signal chan struct{} // holds a token while there may be items
}

func newMailbox() *mailbox { return &mailbox{signal: make(chan struct{}, 1)} }

// put adds a message; false means that the reader is gone for good.
func (b *mailbox) put(m message) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.items = append(b.items, m)
	b.mu.Unlock()
	select {
	case b.signal <- struct{}{}:
	default:
	}
	return true
}

// take removes and returns all messages.
func (b *mailbox) take() []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items = nil
	return items
}

// close refuses further messages and returns those not read.
func (b *mailbox) close() []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	items := b.items
	b.items = nil
	return items
}
