package docker

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"go.uber.org/zap"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// replayed is how many past events Docker keeps; a stream that resumes repeats at
// most so many.
const replayed = 256

// overlap is how far before the last event a stream resumes: Docker stamps events
// before it puts them in order.
const overlap = time.Second

// unsaved is how far before a Watch begins the ends of containers are told of. Docker tells
// that a container has ended before it has it so in its lists; on a slow disk that takes
// seconds, in which a list says that it runs and nobody would hear of its end.
const unsaved = time.Minute

// Watch calls fn, one call at a time and in Docker's order, for everything that
// happens to containers that carry a task's label, from the moment of the call
// until ctx ends. A slow fn delays later events but loses none. After an
// interruption the stream resumes where it broke off and fn hears of it with
// EventReconnected, before the events that follow: Docker remembers only so many. Ends of
// the minute before come too, marked as Past.
func (c *Client) Watch(ctx context.Context, fn func(runtime.Event)) error {
	actions := []events.Action{
		events.ActionCreate, events.ActionStart, events.ActionDie, events.ActionOOM,
		events.ActionDestroy, events.ActionHealthStatus,
	}
	filter := filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)),
		filters.Arg("label", runtime.LabelTaskARN))
	for _, a := range actions {
		filter.Add("event", string(a))
	}
	now := time.Now()
	read := func(m events.Message) (runtime.Event, bool) {
		e, ok := fromMessage(m)
		e.Past = e.Time.Before(now.Add(-overlap))
		return e, ok && (!e.Past || e.Type == runtime.EventDie)
	}
	return watch(ctx, c, filter, now.Add(-unsaved), read, runtime.Event{Type: runtime.EventReconnected}, fn)
}

// WatchExecs is Watch for EventExecDie: further programs that end in containers of tasks,
// those of health checks too.
func (c *Client) WatchExecs(ctx context.Context, fn func(runtime.Event)) error {
	filter := filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)),
		filters.Arg("label", runtime.LabelTaskARN),
		filters.Arg("event", string(events.ActionExecDie)))
	return watch(ctx, c, filter, time.Now().Add(-overlap), fromMessage, runtime.Event{Type: runtime.EventReconnected}, fn)
}

// WatchImages calls fn whenever a local image may have come, gone or got another
// name, and after every interruption of the stream, until ctx ends.
func (c *Client) WatchImages(ctx context.Context, fn func()) error {
	filter := filters.NewArgs(filters.Arg("type", string(events.ImageEventType)))
	for _, a := range []events.Action{
		events.ActionTag, events.ActionUnTag, events.ActionDelete, events.ActionLoad, events.ActionImport, events.ActionPull,
	} {
		filter.Add("event", string(a))
	}
	read := func(events.Message) (struct{}, bool) { return struct{}{}, true }
	return watch(ctx, c, filter, time.Now().Add(-overlap), read, struct{}{}, func(struct{}) { fn() })
}

// watch keeps a stream of events open, read by one goroutine and handed to fn by
// the caller's.
func watch[T any](ctx context.Context, c *Client, filter filters.Args, since time.Time, read func(events.Message) (T, bool), broken T, fn func(T)) error {
	q := newQueue[T]()
	s := &stream{client: c, filter: filter, since: since, seen: newRecent(replayed)}
	var reader sync.WaitGroup
	defer reader.Wait()
	reader.Go(func() {
		s.run(ctx, func(m events.Message) {
			if v, ok := read(m); ok {
				q.put(v)
			}
		}, func() { q.put(broken) })
	})
	for {
		items := q.take(ctx)
		if items == nil {
			return ctx.Err()
		}
		for _, v := range items {
			fn(v)
		}
	}
}

// stream is Docker's event stream, opened again whenever it breaks.
type stream struct {
	client *Client
	filter filters.Args
	// since is where the stream resumes: by our clock until the first event, by the
	// engine's from then on.
	since  time.Time
	latest time.Time // of the events so far, by the engine's clock
	seen   *recent
}

func (s *stream) run(ctx context.Context, event func(events.Message), broken func()) {
	limits := s.client.limits
	wait := &backoff.ExponentialBackOff{
		InitialInterval: limits.ReconnectMin, MaxInterval: limits.ReconnectMax,
		Multiplier: 2, RandomizationFactor: 0.2,
	}
	wait.Reset()
	for again := false; ; again = true {
		opened := time.Now()
		err := s.once(ctx, again, event, broken)
		if ctx.Err() != nil {
			return
		}
		if time.Since(opened) >= limits.EventStreamUp {
			wait.Reset()
		}
		delay := wait.NextBackOff()
		s.client.log.Warn("docker event stream broke", zap.Error(err), zap.Duration("retry_in", delay))
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}

// once opens the stream and reads it to its end, which is always an error.
func (s *stream) once(ctx context.Context, again bool, event func(events.Message), broken func()) error {
	if again {
		// The engine may have been replaced by one of another version.
		if err := s.client.negotiate(ctx); err != nil {
			return err
		}
		if s.client.returned != nil {
			s.client.returned()
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	messages, errs := s.client.api().Events(ctx, events.ListOptions{
		Since:   fmt.Sprintf("%d.%09d", s.since.Unix(), s.since.Nanosecond()),
		Filters: s.filter,
	})
	// Wait for the library's goroutine.
	defer func() {
		cancel()
		for range errs { //nolint:revive // drained until closed
		}
	}()
	if again {
		broken()
	}
	for {
		select {
		case m := <-messages:
			if s.fresh(m) {
				event(m)
			}
		case err := <-errs:
			return err
		}
	}
}

// fresh reports whether the event was not seen before the stream resumed, and
// remembers it.
func (s *stream) fresh(m events.Message) bool {
	if !s.seen.add(fmt.Sprintf("%d %s %s%s", m.TimeNano, m.Action, m.Actor.ID, m.Actor.Attributes["execID"])) {
		return false
	}
	if at := eventTime(m); at.After(s.latest) {
		s.latest = at
		s.since = at.Add(-overlap)
	}
	return true
}

func eventTime(m events.Message) time.Time {
	if m.TimeNano != 0 {
		return time.Unix(0, m.TimeNano).UTC()
	}
	return time.Unix(m.Time, 0).UTC()
}

// fromMessage reads a container event.
func fromMessage(m events.Message) (runtime.Event, bool) {
	e := runtime.Event{ID: m.Actor.ID, Time: eventTime(m)}
	if e.ID == "" || m.Type != events.ContainerEventType {
		return e, false
	}
	switch m.Action {
	case events.ActionCreate:
		e.Type = runtime.EventCreate
	case events.ActionStart:
		e.Type = runtime.EventStart
	case events.ActionDie:
		e.Type, e.ExitCode = runtime.EventDie, exitCode(m)
	case events.ActionOOM:
		e.Type = runtime.EventOOM
	case events.ActionExecDie:
		e.Type, e.ExecID, e.ExitCode = runtime.EventExecDie, m.Actor.Attributes["execID"], exitCode(m)
	case events.ActionDestroy:
		e.Type = runtime.EventDestroy
	case events.ActionHealthStatusHealthy:
		e.Type, e.Health = runtime.EventHealth, task.HealthHealthy
	case events.ActionHealthStatusUnhealthy:
		e.Type, e.Health = runtime.EventHealth, task.HealthUnhealthy
	default:
		return e, false
	}
	e.Name = containerName(m.Actor.Attributes["name"])
	e.Labels = make(map[string]string, len(m.Actor.Attributes))
	for k, v := range m.Actor.Attributes {
		switch k {
		case "name", "image", "exitCode", "execDuration", "signal", "execID":
		default:
			e.Labels[k] = v
		}
	}
	return e, true
}

// exitCode is what an event says of how a program ended.
func exitCode(m events.Message) *int {
	code, err := strconv.Atoi(m.Actor.Attributes["exitCode"])
	if err != nil {
		return nil
	}
	return &code
}

// recent remembers the latest keys that were added to it.
type recent struct {
	ring []string
	next int
	has  map[string]struct{}
}

func newRecent(size int) *recent {
	return &recent{ring: make([]string, size), has: make(map[string]struct{}, size)}
}

// add reports whether the key was not there.
func (r *recent) add(key string) bool {
	if _, ok := r.has[key]; ok {
		return false
	}
	delete(r.has, r.ring[r.next])
	r.ring[r.next] = key
	r.has[key] = struct{}{}
	r.next = (r.next + 1) % len(r.ring)
	return true
}
