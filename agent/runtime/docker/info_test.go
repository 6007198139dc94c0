package docker

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/runtime"
)

// The engine is asked once how it is set up, and again when it may be another.
func TestInfoIsAskedOnce(t *testing.T) {
	f := newFake(t)
	f.handle("GET /info", rawAnswer(`{"CgroupDriver":"systemd","DockerRootDir":"/var/lib/docker"}`))
	opened := make(chan struct{}, 10)
	f.handle("GET /events", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		opened <- struct{}{}
		stall(w, r)
	})
	c := f.connect(t, Timeouts{})
	w := watchEvents(t, c)
	<-opened
	for range 2 {
		info, err := c.Info(t.Context())
		if want := (Info{CgroupDriver: "systemd", DataRoot: "/var/lib/docker"}); err != nil || info != want {
			t.Errorf("info %+v, %v; want %+v", info, err, want)
		}
		if dir, err := c.DataRoot(t.Context()); err != nil || dir != "/var/lib/docker" {
			t.Errorf("data root %q, %v", dir, err)
		}
	}
	if n := f.count("GET /v1.41/info"); n != 1 {
		t.Errorf("info was asked %d times", n)
	}
	f.handle("GET /info", rawAnswer(`{"CgroupDriver":"cgroupfs"}`))
	f.kill()
	f.listen(t)
	if e := w.next(t); e.Type != runtime.EventReconnected {
		t.Fatalf("event %+v", e)
	}
	if info, err := c.Info(t.Context()); err != nil || info != (Info{CgroupDriver: "cgroupfs"}) {
		t.Errorf("of another engine: %+v, %v", info, err)
	}
	if dir, err := c.DataRoot(t.Context()); err == nil {
		t.Errorf("an engine that does not tell: %q", dir)
	}
}

func TestInfoFails(t *testing.T) {
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	if info, err := c.Info(t.Context()); err == nil {
		t.Errorf("no answer: %+v", info)
	}
	f.handle("GET /info", rawAnswer(`{"DockerRootDir":"/d"}`))
	if dir, err := c.DataRoot(t.Context()); err != nil || dir != "/d" {
		t.Errorf("asked again: %q, %v", dir, err)
	}
}

// An engine that just answered something is not asked whether it answers.
func TestAnswers(t *testing.T) {
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	if err := c.Answers(t.Context(), time.Hour); err != nil {
		t.Error(err)
	}
	if err := c.Answers(t.Context(), 0); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"GET /version", "HEAD /_ping"}, f.seen()); diff != "" {
		t.Error(diff)
	}
	c.answered.Store(time.Now().Add(-time.Minute).UnixNano())
	f.kill()
	if err := c.Answers(t.Context(), 59*time.Second); err == nil {
		t.Error("a dead engine answers")
	}
	c.answered.Store(time.Now().Add(time.Minute).UnixNano())
	if err := c.Answers(t.Context(), time.Hour); err == nil {
		t.Error("an answer from before the clock was set back counts")
	}
}

// What fails in the engine is no answer; what it refuses is one.
func TestFailuresAreNoAnswers(t *testing.T) {
	f := newFake(t)
	c := f.connect(t, Timeouts{})
	f.handle("GET /info", func(w http.ResponseWriter, _ *http.Request) { fail(w, http.StatusInternalServerError, "x") })
	for path, want := range map[string]bool{"/info": false, "/plugins": true} {
		c.answered.Store(0)
		var err error
		if path == "/info" {
			_, err = c.Info(t.Context())
		} else {
			_, err = c.VolumePlugins(t.Context()) // 404
		}
		if answered := c.answered.Load() != 0; err == nil || answered != want {
			t.Errorf("%s: answered %t, want %t; error %v", path, answered, want, err)
		}
	}
}
