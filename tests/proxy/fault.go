package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Action is what happens to a call instead of simply passing on. forward passes the call
// on as often as it is called; its context may be another than the call's.
type Action func(w http.ResponseWriter, r *http.Request, forward http.Handler)

// Fault is a disturbance of calls to an engine. Its methods may be called from any
// goroutine.
type Fault struct {
	call   string
	action Action
	times  int // 0: no end

	mu   sync.Mutex
	hits int
	hit  chan struct{} // closed and replaced at every hit
	off  bool
}

// Disturb makes the next calls of a kind ("POST /containers/create", "" for all) suffer
// an action: so many of them, or with 0 all until Lift. Where several faults match, the
// latest one acts.
func (d *Docker) Disturb(call string, times int, action Action) *Fault {
	f := &Fault{call: call, action: action, times: times, hit: make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(slices.DeleteFunc(slices.Clone(d.faults), (*Fault).over), f)
	return f
}

// Lift ends the fault. Calls that it holds are not let go by that.
func (f *Fault) Lift() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = true
}

// Hits is how many calls have suffered so far.
func (f *Fault) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// Await waits until n calls in all have met the fault.
func (f *Fault) Await(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		hits, hit := f.hits, f.hit
		f.mu.Unlock()
		if hits >= n {
			return nil
		}
		select {
		case <-hit:
		case <-ctx.Done():
			return fmt.Errorf("wait for call %d of %q: %w", n, f.call, ctx.Err())
		}
	}
}

func (f *Fault) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.off || f.times > 0 && f.hits >= f.times
}

// takes reports whether the fault acts on the call, and counts it.
func (f *Fault) takes(c Call) bool {
	if f.call != "" && f.call != c.String() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off || f.times > 0 && f.hits >= f.times {
		return false
	}
	f.hits++
	close(f.hit)
	f.hit = make(chan struct{})
	return true
}

// suffer lets the latest fault that matches act on the call.
func (d *Docker) suffer(c Call, w http.ResponseWriter, r *http.Request, forward http.Handler) bool {
	d.mu.Lock()
	faults := d.faults
	d.mu.Unlock()
	for _, f := range slices.Backward(faults) {
		if !f.takes(c) {
			continue
		}
		// Only once the body is read does the server notice that the client is gone.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		f.action(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = io.NopCloser(bytes.NewReader(body))
			forward.ServeHTTP(w, r)
		}))
		return true
	}
	return false
}

// Slow lets the call wait before it passes on.
func Slow(d time.Duration) Action {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			forward.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
}

// Hold lets the call wait until the channel is closed, and then passes it on, also when
// the client has gone meanwhile: that is a call that takes effect late.
func Hold(until <-chan struct{}) Action {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		<-until
		forward.ServeHTTP(w, Detach(r))
	}
}

// Detach is the call with a context that outlives its client.
func Detach(r *http.Request) *http.Request {
	return r.WithContext(lasting{context.WithoutCancel(r.Context())})
}

// lasting is a context that nobody cancels but that has a Done channel: without one
// httputil.ReverseProxy asks the connection itself whether the client has gone, and
// cancels the call then.
type lasting struct{ context.Context }

var never = make(chan struct{})

func (lasting) Done() <-chan struct{} { return never }

// Hang never answers; the engine does not get the call.
func Hang() Action {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }
}

// Mute lets the engine do what it is told and never answers.
func Mute() Action {
	return func(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(httptest.NewRecorder(), Detach(r))
		<-r.Context().Done()
	}
}

// Reset cuts the connection; the engine does not get the call.
func Reset() Action {
	return func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }
}

// LoseAnswer lets the engine do what it is told and cuts the connection before its
// answer.
func LoseAnswer() Action {
	return func(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(httptest.NewRecorder(), Detach(r))
		panic(http.ErrAbortHandler)
	}
}

// Halve passes the call on and cuts the connection in the middle of the answer's body,
// or in the middle of its headers when it has none.
func Halve() Action {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		answer := httptest.NewRecorder()
		forward.ServeHTTP(answer, Detach(r))
		body := answer.Body.Bytes()
		if len(body) > 1 {
			w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.WriteHeader(answer.Code)
			_, _ = w.Write(body[:len(body)/2])
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

// Fail answers with a status and Docker's form of an error; the engine does not get the
// call.
func Fail(status int, message string) Action {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		body, _ := json.Marshal(map[string]string{"message": message})
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
}

// Down makes the engine unreachable, event streams included, or lets it be reached
// again.
func (d *Docker) Down(down bool) {
	d.mu.Lock()
	d.down = down
	d.mu.Unlock()
	if down {
		d.CloseStreams()
	}
}

// Switch leads later calls to another engine, and ends the event streams of the one
// before.
func (d *Docker) Switch(host string) error {
	network, address, err := SplitHost(host)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.network, d.address = network, address
	d.mu.Unlock()
	d.idle()
	d.CloseStreams()
	return nil
}
