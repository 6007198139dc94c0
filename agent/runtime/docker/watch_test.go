package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

func rawAnswer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

// script serves GET /events: one list of messages per connection; after the last
// message the connection ends, but for the last list, whose connection stays open.
type script struct {
	mu       sync.Mutex
	streams  [][]string
	requests []url.Values
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.URL.Query())
	var messages []string
	last := len(s.streams) <= 1
	if len(s.streams) > 0 {
		messages, s.streams = s.streams[0], s.streams[1:]
	}
	s.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	for _, m := range messages {
		_, _ = w.Write([]byte(m))
	}
	w.(http.Flusher).Flush()
	if last {
		<-r.Context().Done()
	}
}

func (s *script) query(i int) url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[i]
}

func TestWatch(t *testing.T) {
	labels := map[string]string{"name": "ecs-a", "image": "i", "exitCode": "3", runtime.LabelTaskARN: "t"}
	f := newFake(t)
	s := &script{streams: [][]string{{
		message("create", "c1", 1e9, labels), message("start", "c1", 2e9, labels), message("exec_create: x", "c1", 2e9, labels),
		message("kill", "c1", 3e9, labels), message("oom", "c1", 4e9, labels), message("health_status: healthy", "c1", 5e9, labels),
		message("health_status: unhealthy", "c1", 6e9, labels), message("health_status: free words", "c1", 6e9, labels),
		message("die", "c1", 7e9, labels), message("die", "c2", 7e9, map[string]string{"name": "b"}), message("stop", "c1", 8e9, labels),
		message("destroy", "c1", 9e9+5, labels), message("start", "", 1e10, labels),
	}}}
	f.handle("GET /events", s.ServeHTTP)
	w := watchEvents(t, f.connect(t, Timeouts{}))
	for i, want := range []runtime.Event{
		{Type: runtime.EventCreate}, {Type: runtime.EventStart}, {Type: runtime.EventOOM}, {Type: runtime.EventHealth, Health: task.HealthHealthy},
		{Type: runtime.EventHealth, Health: task.HealthUnhealthy}, {Type: runtime.EventDie, ExitCode: intp(3)}, {Type: runtime.EventDie}, {Type: runtime.EventDestroy},
	} {
		got := w.next(t)
		if got.Type != want.Type || got.Health != want.Health || (got.ExitCode == nil) != (want.ExitCode == nil) || want.ExitCode != nil && *got.ExitCode != *want.ExitCode {
			t.Errorf("event %d: %+v, want %+v", i, got, want)
		}
		if got.ID == "c1" && (got.Name != "ecs-a" || got.Labels[runtime.LabelTaskARN] != "t" || len(got.Labels) != 1) {
			t.Errorf("event %d: name %q labels %v", i, got.Name, got.Labels)
		}
		if i == 7 && !got.Time.Equal(time.Unix(epoch+9, 5)) {
			t.Errorf("time %v", got.Time)
		}
	}
	var filter map[string]map[string]bool
	if err := json.Unmarshal([]byte(s.query(0).Get("filters")), &filter); err != nil {
		t.Fatal(err)
	}
	if !filter["type"]["container"] || !filter["label"][runtime.LabelTaskARN] || len(filter["event"]) != 6 {
		t.Errorf("filters %v", filter)
	}
}

// A stream that breaks resumes from the last event; repeated events are dropped,
// events of the same moment are not, and the receiver is told.
func TestWatchResumes(t *testing.T) {
	start := func(id string, at int64) string { return message("start", id, at, map[string]string{"name": id}) }
	f := newFake(t)
	s := &script{streams: [][]string{
		{start("c1", 100e9), start("c2", 100e9+7)},
		{start("c1", 100e9), start("c2", 100e9+7), start("c3", 100e9+7), start("c4", 101e9)},
		{},
		{"{broken"},
		{start("c4", 101e9), start("c5", 102e9)},
	}}
	f.handle("GET /events", s.ServeHTTP)
	w := watchEvents(t, f.connect(t, Timeouts{}))
	var got []string
	for len(got) == 0 || got[len(got)-1] != "c5" {
		if e := w.next(t); e.Type == runtime.EventReconnected {
			got = append(got, "again")
		} else {
			got = append(got, e.ID)
		}
	}
	if want := "c1 c2 again c3 c4 again again again c5"; strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
	if since := s.query(1).Get("since"); since != "4000000099.000000007" {
		t.Errorf("resumed since %s", since)
	}
	if since := s.query(4).Get("since"); since != "4000000100.000000000" {
		t.Errorf("resumed since %s", since)
	}
}

// After the engine was replaced by a newer one, the client speaks the newer API.
func TestWatchNoticesAnotherEngine(t *testing.T) {
	f := newFake(t)
	s := &script{}
	f.handle("GET /events", s.ServeHTTP)
	c := f.connect(t, Timeouts{})
	w := watchEvents(t, c)
	for len(f.seen()) < 2 {
		time.Sleep(time.Millisecond)
	}
	f.kill()
	f.mu.Lock()
	f.version = `{"Version":"28","ApiVersion":"1.45","MinAPIVersion":"1.24","Os":"linux"}`
	f.mu.Unlock()
	f.listen(t)
	if e := w.next(t); e.Type != runtime.EventReconnected {
		t.Fatalf("got %+v", e)
	}
	if v := c.Version(); v.Server != "28" || v.API != "1.45" {
		t.Errorf("version %+v", v)
	}
}

// A receiver that does not keep up delays events but loses none, and the engine's
// connection is drained meanwhile.
func TestWatchBuffers(t *testing.T) {
	const n = 5000
	var messages []string
	for i := range n {
		messages = append(messages, message("start", fmt.Sprintf("c%d", i), int64(1e9+i), map[string]string{"name": "a"}))
	}
	f := newFake(t)
	written := make(chan struct{})
	f.handle("GET /events", func(w http.ResponseWriter, r *http.Request) {
		for _, m := range messages {
			_, _ = w.Write([]byte(m))
		}
		w.(http.Flusher).Flush()
		close(written)
		<-r.Context().Done()
	})
	c := f.connect(t, Timeouts{})
	release, all, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	ctx, cancel := contextWithCancel(t)
	seen := 0
	go func() {
		done <- c.Watch(ctx, func(e runtime.Event) {
			<-release
			if e.ID != fmt.Sprintf("c%d", seen) {
				t.Errorf("event %d is %s", seen, e.ID)
			}
			if seen++; seen == n {
				close(all)
			}
		})
	}()
	<-written
	close(release)
	<-all
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWatchImages(t *testing.T) {
	f := newFake(t)
	s := &script{streams: [][]string{{`{"Type":"image","Action":"untag","Actor":{"ID":"sha256:x"},"timeNano":1}` + "\n"}, {}}}
	f.handle("GET /events", s.ServeHTTP)
	c := f.connect(t, Timeouts{})
	changes, done := make(chan struct{}, 10), make(chan error, 1)
	ctx, cancel := contextWithCancel(t)
	go func() { done <- c.WatchImages(ctx, func() { changes <- struct{}{} }) }()
	<-changes // the event
	<-changes // the interruption
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue[int]()
		var got []int
		done := make(chan struct{})
		ctx, cancel := contextWithCancel(t)
		go func() {
			defer close(done)
			for {
				items := q.take(ctx)
				if items == nil {
					return
				}
				got = append(got, items...)
			}
		}()
		for i := range 100 {
			q.put(i)
			if i%7 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		cancel()
		<-done
		for i := range 100 {
			if got[i] != i {
				t.Fatalf("got %v", got)
			}
		}
	})
}

func TestRecentForgetsTheOldest(t *testing.T) {
	r := newRecent(2)
	for i, want := range []bool{true, true, true, true, false} {
		if got := r.add([]string{"a", "b", "c", "a", "c"}[i]); got != want {
			t.Errorf("add %d: %v", i, got)
		}
	}
}

// Of what happened before the watch began only ends are told, marked: Docker may not have
// them in its lists yet.
func TestWatchTellsOfEndsBefore(t *testing.T) {
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).UnixNano() - epoch*1e9 }
	name := map[string]string{"name": "a", "exitCode": "0"}
	f := newFake(t)
	s := &script{streams: [][]string{{
		message("start", "c1", ago(40*time.Second), name), message("die", "c1", ago(30*time.Second), name), message("destroy", "c1", ago(20*time.Second), name),
		message("die", "c2", 1, name),
	}}}
	f.handle("GET /events", s.ServeHTTP)
	begun := time.Now()
	w := watchEvents(t, f.connect(t, Timeouts{}))
	if e := w.next(t); e.Type != runtime.EventDie || e.ID != "c1" || !e.Past {
		t.Errorf("first %+v, want the end of c1, of the past", e)
	}
	if e := w.next(t); e.Type != runtime.EventDie || e.ID != "c2" || e.Past {
		t.Errorf("then %+v, want the end of c2", e)
	}
	since, err := strconv.ParseFloat(s.query(0).Get("since"), 64)
	if err != nil || begun.Sub(time.Unix(int64(since), 0)) < unsaved/2 {
		t.Errorf("asked for events since %s, %v", s.query(0).Get("since"), err)
	}
}
