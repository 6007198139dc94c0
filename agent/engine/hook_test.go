package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/resource"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// canary is what must be in containers and nowhere else.
const canary = "canary-5f1c"

// fakeHook makes one resource for each task, unless it is told otherwise.
type fakeHook struct {
	kind     string
	resource task.Resource
	refuses  error
	delay    time.Duration
	fails    error // Provision's answer
	stays    error // CleanUp's answer
	swept    []string
	quiet    bool // calls are not kept

	mu    sync.Mutex
	made  map[string]int // by task id
	calls []string
}

func newFakeHook(kind string) *fakeHook {
	return &fakeHook{kind: kind, made: make(map[string]int),
		resource: task.Resource{Name: kind, Text: "the " + kind, Before: task.ContainerCreated}}
}

func (h *fakeHook) Kind() string { return h.kind }

func (h *fakeHook) Needs(*task.Spec) ([]task.Resource, error) {
	return []task.Resource{h.resource}, h.refuses
}

func (h *fakeHook) Preview(*task.Spec, *task.Resource) resource.Provided { return resource.Provided{} }

func (h *fakeHook) Provision(ctx context.Context, s *task.Snapshot, r *task.Resource) (resource.Provided, error) {
	h.note("make " + s.ID())
	if h.delay > 0 {
		select {
		case <-time.After(h.delay):
		case <-ctx.Done():
			return resource.Provided{}, ctx.Err()
		}
	}
	h.mu.Lock()
	h.made[s.ID()]++
	h.mu.Unlock()
	return resource.Provided{
		Shared: dockerspec.Inputs{CgroupParent: "/parent/" + s.ID()},
		Inputs: map[string]dockerspec.Inputs{"app": {Secrets: map[string]string{"PASSWORD": canary}}},
		Data:   map[string]string{"lease": "lease of " + r.Name},
	}, h.fails
}

func (h *fakeHook) CleanUp(_ context.Context, s *task.Snapshot, r *task.Resource, data map[string]string) error {
	h.note(fmt.Sprintf("remove %s %s", s.ID(), data["lease"]))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stays == nil {
		delete(h.made, s.ID())
	}
	return h.stays
}

func (h *fakeHook) Sweep(_ context.Context, known func(string) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.made {
		if !known(id) {
			delete(h.made, id)
			h.swept = append(h.swept, id)
		}
	}
	return nil
}

// stay sets CleanUp's answer.
func (h *fakeHook) stay(err error) { h.mu.Lock(); h.stays = err; h.mu.Unlock() }

// there is how many resources there are.
func (h *fakeHook) there() int { h.mu.Lock(); defer h.mu.Unlock(); return len(h.made) }

func (h *fakeHook) note(call string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.quiet {
		h.calls = append(h.calls, call)
	}
}

func (h *fakeHook) told() []string { h.mu.Lock(); defer h.mu.Unlock(); return slices.Clone(h.calls) }

// keepingBuilder keeps the requests that containers were made from.
type keepingBuilder struct {
	Builder
	mu       *sync.Mutex
	requests map[string]runtime.CreateRequest // by container
}

func (b keepingBuilder) Build(spec *task.Spec, i int, st *task.State, in dockerspec.Inputs) (runtime.CreateRequest, error) {
	request, err := b.Builder.Build(spec, i, st, in)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests[spec.Containers[i].Name] = request
	return request, err
}

// withHooks is a rig with hooks and a builder that keeps its requests.
func withHooks(t *testing.T, hooks []Hook, test func(*rig, keepingBuilder)) {
	t.Helper()
	b := keepingBuilder{mu: new(sync.Mutex), requests: make(map[string]runtime.CreateRequest)}
	in(t, func(o *Options) {
		b.Builder = o.Builder
		o.Builder, o.Hooks = b, hooks
		o.CleanupWait = time.Hour
	}, func(r *rig) { test(r, b) })
}

// TestResourceReachesItsContainers: a resource is made while images are pulled; what
// it gives is in the containers that need it, and a secret is nowhere else.
func TestResourceReachesItsContainers(t *testing.T) {
	secrets, group := newFakeHook("secret"), newFakeHook("cgroup")
	secrets.resource.Containers = []string{"app"}
	secrets.delay = 5 * time.Second
	var log strings.Builder
	b := keepingBuilder{mu: new(sync.Mutex), requests: make(map[string]runtime.CreateRequest)}
	in(t, func(o *Options) {
		b.Builder = o.Builder
		o.Builder, o.Hooks = b, []Hook{group, secrets}
		o.Log = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(&log), zap.DebugLevel))
	}, func(r *rig) {
		spec := specOf("one", "app", "side")
		r.images.OnEnsure("app:1", enginetest.Answer{Delay: 5 * time.Second, Pulled: true})
		r.run(spec)
		if st := r.state(spec); st.Containers[1].Known != task.ContainerRunning || st.Containers[0].Known != task.ContainerManifestPulled {
			t.Errorf("side waits for app's secrets, or app does not wait: %+v", st)
		}
		waits := fmt.Sprint(r.Timeline(spec.ARN).Waits)
		if !strings.Contains(waits, "the secret") || !strings.Contains(waits, "provision") {
			t.Errorf("waits %s", waits)
		}
		r.pass(5 * time.Second)
		r.want(spec, task.Running)
		app, side := b.requests["app"], b.requests["side"]
		if !slices.Contains(app.Config.Env, "PASSWORD="+canary) || app.HostConfig.CgroupParent != "/parent/one" {
			t.Errorf("app: environment %q, parent %q", app.Config.Env, app.HostConfig.CgroupParent)
		}
		if strings.Contains(fmt.Sprint(side.Config.Env), canary) || side.HostConfig.CgroupParent != "/parent/one" {
			t.Errorf("side: environment %q, parent %q", side.Config.Env, side.HostConfig.CgroupParent)
		}
		for what, v := range map[string]any{
			"snapshot": r.Snapshot(spec.ARN), "timeline": r.Timeline(spec.ARN), "reports": r.report.Seen(spec.ARN),
			"inputs": dockerspec.Inputs{Secrets: map[string]string{"A": canary}},
		} {
			text, err := json.Marshal(v)
			if err != nil || strings.Contains(string(text), canary) || strings.Contains(fmt.Sprintf("%v %+v %#v", v, v, v), canary) {
				t.Errorf("%s shows a secret (%v)", what, err)
			}
		}
		records, _ := r.store.Load()
		if text, _ := json.Marshal(records); strings.Contains(string(text), canary) || !strings.Contains(string(text), "lease of secret") {
			t.Errorf("on disk: %s", text)
		}
		if !strings.Contains(fmt.Sprint(r.Timeline(spec.ARN).Entries), "created the secret") {
			t.Errorf("entries %v", r.Timeline(spec.ARN).Entries)
		}
		if a := r.actor(spec.ARN); a.provided[0] != nil || a.provided[1] != nil {
			t.Error("secrets are kept longer than needed")
		}
	})
	if strings.Contains(log.String(), canary) || !strings.Contains(log.String(), "one") {
		t.Errorf("log: %s", log.String())
	}
}

// TestSecretInDockersWords: Docker quotes what it does not take; its words reach ECS
// without the value.
func TestSecretInDockersWords(t *testing.T) {
	for name, call := range map[string]enginetest.Op{"create": enginetest.Create, "start": enginetest.Start} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHook("secret")
			withHooks(t, []Hook{h}, func(r *rig, _ keepingBuilder) {
				r.docker.Disturb(call, "app", enginetest.Knob{Err: errors.New("invalid size: '" + canary + "'")})
				spec := specOf("one", "app")
				r.run(spec)
				r.pass(time.Minute)
				st := r.want(spec, task.Stopped)
				if err := st.Containers[0].Error; err == nil || !strings.HasSuffix(err.Message, "invalid size: '[redacted]'") {
					t.Errorf("reason %v", err)
				}
			})
		})
	}
}

// TestResourceFails: the task stops, or the containers that need it, with the reason.
func TestResourceFails(t *testing.T) {
	named := fmt.Errorf("make it: %w", &task.Error{Name: "CgroupError", Message: "Agent could not create task's platform resources"})
	for name, c := range map[string]struct {
		err            error
		blames         bool
		reason, ofSide string
	}{
		"task, named":      {err: named, reason: "CgroupError: Agent could not create task's platform resources"},
		"task, plain":      {err: errors.New("fetching  secret\ndata: denied"), reason: "Fetching secret data: denied"},
		"container, named": {err: named, blames: true, ofSide: "CgroupError: Agent could not create task's platform resources"},
		"container, plain": {err: errors.New("no such key"), blames: true, ofSide: "ResourceInitializationError: no such key"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHook("secret")
			h.fails, h.resource.Blames, h.resource.Containers = c.err, c.blames, []string{"side"}
			withHooks(t, []Hook{h}, func(r *rig, _ keepingBuilder) {
				spec := specOf("one", "app", "side")
				spec.Containers[1].Essential = false
				r.run(spec)
				st := r.state(spec)
				got := ""
				if err := st.Containers[1].Error; err != nil {
					got = err.Error()
				}
				if st.TerminalReason != c.reason || got != c.ofSide {
					t.Errorf("task %q, container %q", st.TerminalReason, got)
				}
				if want := map[bool]task.Status{true: task.Running, false: task.Stopped}[c.blames]; st.Known != want {
					t.Errorf("task is %v, want %v", st.Known, want)
				}
				if n := len(h.told()); n != 1 {
					t.Errorf("calls %v", h.told())
				}
			})
		})
	}
}

func TestHookRejectsTask(t *testing.T) {
	h := newFakeHook("secret")
	h.refuses = errors.New("no good")
	withHooks(t, []Hook{h}, func(r *rig, _ keepingBuilder) {
		spec := specOf("one", "app")
		r.run(spec)
		if st := r.want(spec, task.Stopped); st.TerminalReason != "resource cannot be initialized for task "+spec.ARN+": no good" {
			t.Errorf("reason %q", st.TerminalReason)
		}
	})
}

// TestResourceOfStoppedTask: a stop does not wait for what is being made, and its
// interruption is not shown as the reason.
func TestResourceOfStoppedTask(t *testing.T) {
	h := newFakeHook("secret")
	h.delay = time.Minute
	withHooks(t, []Hook{h}, func(r *rig, _ keepingBuilder) {
		spec := specOf("one", "app")
		r.run(spec)
		r.stopTask(spec)
		if st := r.want(spec, task.Stopped); st.TerminalReason != "" || st.Containers[0].Error != nil {
			t.Errorf("state %+v", st)
		}
		r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
		r.pass(answeredWait)
		if want := []string{"make one", "remove one "}; !slices.Equal(h.told(), want) || r.Snapshot(spec.ARN) != nil {
			t.Errorf("calls %q, want %q", h.told(), want)
		}
	})
}

// TestResourceAfterRestart: what lives in memory is made again for containers that
// have not run, and only for them; what is chosen or remembered is found again.
func TestResourceAfterRestart(t *testing.T) {
	h := newFakeHook("secret")
	h.resource.Data = map[string]string{"directory": "d1"}
	withHooks(t, []Hook{h}, func(r *rig, b keepingBuilder) {
		running, waiting := specOf("one", "app"), specOf("two", "app")
		r.run(running)
		r.docker.Disturb(enginetest.Start, "app", enginetest.Knob{Block: make(chan struct{})})
		r.run(waiting)
		if c := r.state(waiting).Containers[0]; c.Known != task.ContainerCreated {
			t.Fatalf("container %+v", c)
		}
		r.stop()
		r.docker.Disturb(enginetest.Start, "app", enginetest.Knob{})
		r.start()
		r.want(running, task.Running)
		r.want(waiting, task.Running)
		if want := []string{"make one", "make two", "make two"}; !slices.Equal(h.told(), want) {
			t.Errorf("calls %q, want %q", h.told(), want)
		}
		r.stop()
		r.start()
		if got := r.Snapshot(running.ARN).Resources[0].Data["directory"]; got != "d1" {
			t.Errorf("directory %q", got)
		}
		r.stopTask(running)
		r.Sent(running.ARN, task.Sent{Task: task.Stopped})
		r.pass(time.Hour)
		if calls := h.told(); calls[len(calls)-1] != "remove one lease of secret" || r.Snapshot(running.ARN) != nil {
			t.Errorf("calls %q", calls)
		}
	})
}

// TestResourceCleanUpInsists: removal is tried until it succeeds, after the
// containers and in reverse order, and once when it does.
func TestResourceCleanUpInsists(t *testing.T) {
	first, second := newFakeHook("first"), newFakeHook("second")
	first.stays = errors.New("busy")
	withHooks(t, []Hook{first, second}, func(r *rig, _ keepingBuilder) {
		spec := specOf("one", "app")
		r.run(spec)
		r.stopTask(spec)
		r.Sent(spec.ARN, task.Sent{Task: task.Stopped})
		r.pass(time.Hour)
		if len(r.docker.Containers()) != 0 || second.there() != 0 || first.there() != 1 || r.Snapshot(spec.ARN) == nil {
			t.Fatalf("first %v, second %v", first.told(), second.told())
		}
		first.stay(nil)
		r.pass(time.Hour)
		if first.there() != 0 || r.Snapshot(spec.ARN) != nil {
			t.Errorf("not removed: %v", first.told())
		}
		calls := len(first.told())
		r.pass(24 * time.Hour)
		if len(first.told()) != calls {
			t.Errorf("removed again: %v", first.told())
		}
	})
}

// TestSweep: what is left of tasks without a record goes when the agent starts, and what
// was too young for it then goes with one of the looks that follow. After those nothing is
// looked for.
func TestSweep(t *testing.T) {
	h := newFakeHook("cgroup")
	withHooks(t, []Hook{h}, func(r *rig, _ keepingBuilder) {
		spec := specOf("one", "app")
		r.run(spec)
		r.stop()
		h.add("lost")
		r.start()
		h.wantSwept(t, "lost")
		h.add("later")
		r.pass(6 * time.Minute)
		h.wantSwept(t, "lost", "later")
		r.pass(time.Hour)
		h.add("never")
		r.pass(time.Hour)
		h.wantSwept(t, "lost", "later")
	})
}

// add makes the resource of a task that nobody knows.
func (h *fakeHook) add(id string) { h.mu.Lock(); h.made[id] = 1; h.mu.Unlock() }

// wantSwept checks which are swept, and that the one of the task "one" is not.
func (h *fakeHook) wantSwept(t *testing.T, ids ...string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.swept, ids) || h.made["one"] != 1 {
		t.Errorf("swept %v, made %v", h.swept, h.made)
	}
}

// TestResourceWithoutHook: a task of an earlier run whose resource nobody can make any
// more is not run without it.
func TestResourceWithoutHook(t *testing.T) {
	var hooks []Hook
	in(t, func(o *Options) { o.Hooks = hooks }, func(r *rig) {
		h := newFakeHook("secret")
		h.delay = time.Hour
		r.stop()
		hooks = []Hook{h}
		r.start()
		spec := specOf("one", "app")
		r.run(spec)
		r.stop()
		hooks = nil
		r.start()
		if st := r.want(spec, task.Stopped); st.TerminalReason != "ResourceInitializationError: the secret: switched off on this container instance" {
			t.Errorf("reason %q", st.TerminalReason)
		}
		synctest.Wait()
	})
}

// drainer is a fakeHook that wants to know of the end.
type drainer struct {
	*fakeHook
	answers []error // of the calls, in order; then nil
}

func (d *drainer) Drain(_ context.Context, s *task.Snapshot, _ *task.Resource) error {
	d.note("drain " + s.ID())
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.answers) == 0 {
		return nil
	}
	err := d.answers[0]
	d.answers = d.answers[1:]
	return err
}

// A hook hears of a task's end before the first container is stopped, once, and again
// when it failed; containers stop all the same.
func TestDrain(t *testing.T) {
	for name, c := range map[string]struct {
		answers []error
		drains  int
	}{
		"once": {nil, 1}, "again": {[]error{errors.New("no luck")}, 2}, "never": {[]error{errors.New("no"), errors.New("no"), errors.New("no")}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			h := &drainer{fakeHook: newFakeHook("lease"), answers: c.answers}
			in(t, func(o *Options) { o.Hooks = []Hook{h} }, func(r *rig) {
				spec := specOf("one", "app", "side", "proxy")
				// They end one after the other.
				spec.Containers[0].DependsOn = []task.Dependency{{Container: "side", Condition: task.DependsStart}}
				spec.Containers[1].DependsOn = []task.Dependency{{Container: "proxy", Condition: task.DependsStart}}
				r.run(spec)
				r.want(spec, task.Running)
				r.stopTask(spec)
				r.pass(time.Minute)
				r.want(spec, task.Stopped)
				h.mu.Lock()
				defer h.mu.Unlock()
				drains := 0
				for _, call := range h.calls {
					if call == "drain one" {
						drains++
					}
				}
				if drains != c.drains {
					t.Errorf("%d drains of %q, want %d", drains, h.calls, c.drains)
				}
			})
		})
	}
}
