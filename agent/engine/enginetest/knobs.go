package enginetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Op is a call of the runtime.
type Op string

// Calls that can be counted and disturbed.
const (
	Create       Op = "create"
	Start        Op = "start"
	Stop         Op = "stop"
	Kill         Op = "kill"
	Inspect      Op = "inspect"
	List         Op = "list"
	Remove       Op = "remove"
	Ping         Op = "ping"
	CreateVolume Op = "create volume"
	InspectVol   Op = "inspect volume"
	RemoveVolume Op = "remove volume"
)

// Knob disturbs calls.
type Knob struct {
	Delay time.Duration   // before anything else
	Block <-chan struct{} // until it is closed, or the call's context ends
	Err   error           // instead of doing it
	After error           // answered although it was done
	// Stubborn calls take effect although their context ended, as a request that
	// Docker has already read does.
	Stubborn bool
	Times    int // how often; 0 means always
}

// ErrLie is the Err of a stop that is answered as done although nothing was done.
var ErrLie = errors.New("answered as done")

// Disturb turns a knob for an op on the containers with this name, or on all when
// it is empty. A zero knob turns it off.
func (r *Runtime) Disturb(op Op, container string, k Knob) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k == (Knob{}) {
		delete(r.knobs, key(op, container))
		return
	}
	r.knobs[key(op, container)] = &k
}

// Down makes every call fail, as when Docker does not answer; false ends that.
func (r *Runtime) Down(down bool) {
	var k Knob
	if down {
		k.Err = &runtime.Failure{Reason: task.Error{Name: "CannotConnect", Message: "docker is down"}, Kind: runtime.ErrUnavailable}
	}
	for _, op := range []Op{Create, Start, Stop, Kill, Inspect, List, Remove, Ping, CreateVolume, InspectVol, RemoveVolume, CreateExec, StartExec, InspectExec, Processes, ListExecs} {
		r.Disturb(op, "", k)
	}
}

// Calls lists the calls so far, as "op container".
func (r *Runtime) Calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// Forget drops the list of calls.
func (r *Runtime) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = nil
}

// Count is how often an op was called.
func (r *Runtime) Count(op Op) (n int) {
	for _, c := range r.Calls() {
		if c == string(op) || len(c) > len(op) && c[:len(op)+1] == string(op)+" " {
			n++
		}
	}
	return n
}

func key(op Op, container string) string { return string(op) + " " + container }

// enter counts a call and applies the knob; done tells what to answer although the
// call took effect.
func (r *Runtime) enter(ctx context.Context, op Op, container string) (done error, err error) {
	r.mu.Lock()
	r.calls = append(r.calls, key(op, container))
	k := r.knobs[key(op, container)]
	if k == nil {
		k = r.knobs[key(op, "")]
	}
	var now Knob
	if k != nil {
		now = *k
		if k.Times > 0 {
			if k.Times--; k.Times == 0 {
				for name, other := range r.knobs {
					if other == k {
						delete(r.knobs, name)
					}
				}
			}
		}
	}
	r.mu.Unlock()
	if now.Stubborn {
		ctx = context.WithoutCancel(ctx)
	}
	if now.Delay > 0 {
		select {
		case <-time.After(now.Delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if now.Block != nil {
		select {
		case <-now.Block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return now.After, now.Err
}
