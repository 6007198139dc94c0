package service

import (
	"sync"

	"go.uber.org/zap"

	"ecsagent/controlplane/wire"
)

// maxEarly bounds the acks that are remembered for payloads not yet known.
const maxEarly = 1024

// committer carries batches out in the order in which they were added.
type committer struct {
	s    *Service
	wake chan struct{} // capacity 1
	end  chan struct{} // closed to ask for the end
	gone chan struct{} // closed when the goroutine has ended
	once sync.Once

	mu    sync.Mutex
	queue []batch

	// unwritten are records whose last write failed; they go with the next batch.
	unwritten map[recordKey][]byte
}

func newCommitter(s *Service) *committer {
	c := &committer{s: s, wake: make(chan struct{}, 1), end: make(chan struct{}), gone: make(chan struct{}),
		unwritten: map[recordKey][]byte{}}
	go c.run()
	return c
}

// add is called with the service's lock held, so that the queue has the order of
// the changes.
func (c *committer) add(b batch) {
	c.mu.Lock()
	c.queue = append(c.queue, b)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// close refuses further changes and waits until the queue is empty.
func (c *committer) close() {
	c.s.mu.Lock()
	c.s.state.closed = true
	c.s.mu.Unlock()
	c.once.Do(func() { close(c.end) })
	<-c.gone
}

func (c *committer) run() {
	defer close(c.gone)
	for {
		select {
		case <-c.wake:
			c.flush()
		case <-c.end:
			c.flush()
			return
		}
	}
}

// flush writes everything that waits in one go, then carries it out. When the
// write fails, the callers are told, the records go with the next write, and the
// work goes out all the same: agents then know of tasks that a crash would make
// the service forget, and the manifest after the restart stops those.
func (c *committer) flush() {
	c.mu.Lock()
	batches := c.queue
	c.queue = nil
	c.mu.Unlock()
	if len(batches) == 0 {
		return
	}
	err := c.write(batches)
	if err != nil {
		c.s.log.Error("state could not be written", zap.Error(err))
	}
	for i := range batches {
		c.dispatch(&batches[i])
		c.s.subs.publish(batches[i].events)
		batches[i].done <- err
	}
}

func (c *committer) write(batches []batch) error {
	if c.s.store == nil {
		return nil
	}
	puts := c.unwritten
	for i := range batches {
		for key, value := range batches[i].puts {
			puts[key] = value
		}
	}
	if len(puts) == 0 {
		return nil
	}
	if err := c.s.store.write(puts); err != nil {
		return err
	}
	clear(c.unwritten)
	return nil
}

func (c *committer) dispatch(b *batch) {
	c.s.changeAttachments(b)
	if len(b.deliveries) == 0 && len(b.attach) == 0 && len(b.updates) == 0 && len(b.disconnects) == 0 {
		return
	}
	c.s.mu.Lock()
	d := c.s.state.dispatcher
	c.s.mu.Unlock()
	if d == nil {
		return // SetDispatcher delivers what is not acknowledged
	}
	for i := range b.attach {
		d.Announce(b.attach[i].instance, b.attach[i].announcement)
	}
	for i := range b.deliveries {
		dl := &b.deliveries[i]
		if id := d.Deliver(dl.instance, dl.payload()); id != "" {
			c.s.delivered(id, dl.marks)
		}
	}
	for i := range b.updates {
		d.Update(b.updates[i].instance, b.updates[i].update)
	}
	for _, arn := range b.disconnects {
		d.Disconnect(arn, wire.InactiveInstance)
	}
}

// delivered notes which tasks a message carries.
func (s *Service) delivered(messageID string, marks []mark) {
	s.mu.Lock()
	early := s.state.early[messageID]
	delete(s.state.early, messageID)
	if !early {
		s.state.inFlight[messageID] = marks
	}
	s.mu.Unlock()
	if early {
		s.apply(func(t *tx) { t.ackAll(marks) })
	}
}
