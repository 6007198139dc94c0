package service

import (
	"context"
	"sync"

	"ecsagent/controlplane/api"
)

// Kinds of Event.
const (
	KindTask     = "task"
	KindInstance = "instance"
)

// Event says that a task or a container instance has changed, and shows it as it
// was after the change. Its parts must not be changed.
type Event struct {
	Kind     string                 `json:"kind"`
	ARN      string                 `json:"arn"`
	Task     *api.Task              `json:"task,omitempty"`
	Instance *api.ContainerInstance `json:"instance,omitempty"`
}

// subscribers are the receivers of events.
type subscribers struct {
	done chan struct{}
	once sync.Once
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	all    map[*subscriber]bool
}

// subscriber queues events without bound, so that publishing never waits.
type subscriber struct {
	wake chan struct{} // capacity 1

	mu    sync.Mutex
	queue []Event
}

func newSubscribers() *subscribers {
	return &subscribers{done: make(chan struct{}), all: map[*subscriber]bool{}}
}

func (ss *subscribers) add(ctx context.Context) <-chan Event {
	out := make(chan Event)
	sub := &subscriber{wake: make(chan struct{}, 1)}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.closed {
		close(out)
		return out
	}
	ss.all[sub] = true
	ss.wg.Add(1)
	go ss.pump(ctx, sub, out)
	return out
}

func (ss *subscribers) pump(ctx context.Context, sub *subscriber, out chan<- Event) {
	defer ss.wg.Done()
	defer close(out)
	defer func() {
		ss.mu.Lock()
		delete(ss.all, sub)
		ss.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ss.done:
			return
		case <-sub.wake:
		}
		for _, e := range sub.take() {
			select {
			case out <- e:
			case <-ctx.Done():
				return
			case <-ss.done:
				return
			}
		}
	}
}

func (sub *subscriber) take() []Event {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	events := sub.queue
	sub.queue = nil
	return events
}

func (ss *subscribers) publish(events []Event) {
	if len(events) == 0 {
		return
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for sub := range ss.all {
		sub.mu.Lock()
		sub.queue = append(sub.queue, events...)
		sub.mu.Unlock()
		select {
		case sub.wake <- struct{}{}:
		default:
		}
	}
}

func (ss *subscribers) close() {
	ss.mu.Lock()
	ss.closed = true
	ss.mu.Unlock()
	ss.once.Do(func() { close(ss.done) })
	ss.wg.Wait()
}
