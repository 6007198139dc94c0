package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// cleaned makes a cleaner of a host with the records' images on it.
func cleaned(t testing.TB, h *host, records []Record, opts CleanerOptions) (*Cleaner, *Accounts) {
	for _, r := range records {
		h.have(r.Image.ImageID, 1, ago(0), r.Image.Names...)
	}
	accounts := NewAccounts(records)
	opts.Engine, opts.Accounts, opts.Tasks = h, accounts, h
	if opts.Now == nil {
		opts.Now = func() time.Time { return cleanNow }
	}
	opts.Puller = New(Options{Engine: h, Accounts: accounts, Limits: quick})
	t.Cleanup(opts.Puller.Close)
	return NewCleaner(opts), accounts
}

func TestCleanerCycle(t *testing.T) {
	inUse := fail("x", "conflict: image is being used", runtime.ErrConflict)
	gone := fail("x", "No such image", runtime.ErrNotFound)
	old := 2 * time.Hour
	exited := func(id string, ended, created time.Duration, labels map[string]string) *runtime.Container {
		return &runtime.Container{ID: id, Name: id, Status: task.ContainerStopped, CreatedAt: ago(created), FinishedAt: ago(ended), Labels: labels}
	}
	tests := []struct {
		name    string
		records []Record
		host    func(h *host)
		opts    CleanerOptions
		removed string
		left    string
	}{
		{name: "least recently used first", opts: CleanerOptions{PerCycle: 2},
			records: []Record{record("1", old, time.Hour, "a"), record("2", old, 3*time.Hour, "b"), record("3", old, 2*time.Hour, "c")},
			removed: "b c", left: "1"},
		{name: "too young, needed by a task, in use, excluded, the agent's own", opts: CleanerOptions{Exclude: []string{"keep:1", "docker.io/library/implied:latest"}},
			records: []Record{
				record("1", time.Minute, old, "a"), record("2", old, time.Minute, "b"), record("3", old, old, "c"),
				record("4", old, old, "keep:1", "x"), record("5", old, old, "amazon/amazon-ecs-agent:latest"), record("6", old, old, "implied"),
			},
			host: func(h *host) {
				h.need("docker.io/library/b:latest", 1)
				h.containers["k"] = &runtime.Container{ID: "k", Image: "3"}
			},
			left: "1 2 3 4 5 6"},
		{name: "all names, or the id", records: []Record{record("1", old, old, "a", "b"), record("2", old, old)}, removed: "a b 2"},
		{name: "a name that means another image by now", records: []Record{record("1", old, old, "a"), record("2", time.Minute, old)},
			host: func(h *host) { h.name(localName("a"), "2") }, removed: "1", left: "2"},
		{name: "nameless, but somebody named it", records: []Record{record("1", old, old)},
			host: func(h *host) { h.name(localName("theirs"), "1") }},
		{name: "errors", records: []Record{record("1", old, old, "a"), record("2", old, old, "b"), record("3", old, old, "c")},
			host: func(h *host) { h.errs["a"], h.errs["b"] = inUse, gone }, removed: "c", left: "1"},
		{name: "a name gone, the other in use", records: []Record{record("1", old, old, "a", "b")},
			host: func(h *host) { h.errs["b"] = inUse }, removed: "a", left: "1"},
		{name: "strangers off", host: func(h *host) { h.have("9", 9, ago(old)) }},
		{name: "strangers, smallest first, within the budget", opts: CleanerOptions{Untracked: true, PerCycle: 3, Exclude: []string{"keep:1"}},
			records: []Record{record("1", old, old, "a")},
			host: func(h *host) {
				h.have("9", 9, ago(old), "big:1")
				h.have("8", 8, ago(old), "x:1", "x:2")
				h.have("7", 1, ago(old), "used:1")
				h.have("6", 1, ago(old), "keep:1")
				h.have("5", 1, ago(time.Minute), "new:1")
				h.have("4", 2, ago(old))
				h.have("3", 1, ago(old), "tagged:1")
				h.images["3"].Tagged = ago(time.Minute)
				h.have("2", 1, ago(old), "needed:1")
				h.need("docker.io/library/needed:1", 1)
				h.containers["k"] = &runtime.Container{ID: "k", Image: "7", Status: task.ContainerRunning}
			},
			removed: "a 4 docker.io/library/x:1 docker.io/library/x:2"},
		{name: "containers of others, and then their images", opts: CleanerOptions{Untracked: true, PerCycleOther: 2},
			host: func(h *host) {
				h.have("9", 9, ago(24*time.Hour), "theirs:1")
				for _, c := range []*runtime.Container{
					exited("task", 9*time.Hour, 9*time.Hour, map[string]string{"task": "arn"}),
					exited("young", time.Hour, 9*time.Hour, nil), exited("new", time.Hour, time.Hour, nil),
					exited("c3", 9*time.Hour, 10*time.Hour, nil), exited("c1", 9*time.Hour, 12*time.Hour, nil),
					{ID: "c2", Name: "c2", Image: "9", Status: task.ContainerCreated, CreatedAt: ago(11 * time.Hour)},
					{ID: "runs", Name: "runs", Status: task.ContainerRunning, CreatedAt: ago(99 * time.Hour)},
				} {
					h.containers[c.ID] = c
				}
			},
			removed: "c1 c2 docker.io/library/theirs:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost()
			c, accounts := cleaned(t, h, tt.records, tt.opts)
			if tt.host != nil {
				tt.host(h)
			}
			c.seen = map[string]time.Time{}
			for id, img := range h.images {
				c.seen[id] = img.Created
			}
			if err := c.Cycle(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(h.removed, " "); got != tt.removed {
				t.Errorf("removed %q, want %q", got, tt.removed)
			}
			var left []string
			for _, r := range accounts.Records() {
				left = append(left, r.Image.ImageID)
			}
			if got := strings.Join(left, " "); got != tt.left {
				t.Errorf("left %q, want %q", got, tt.left)
			}
			if len(h.wrong) > 0 {
				t.Error(h.wrong)
			}
		})
	}
}

// Whatever tasks, registry and disk do, and whenever: no image that a task needs, that
// is being got or that a container uses is removed, and every task gets its image. The
// puller and the containers alone protect images too.
func TestNothingInUseIsRemoved(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &cleanWorld{host: newHost(), now: cleanNow, script: rapid.SliceOfN(rapid.IntRange(0, 1<<20), 200, 200).Draw(rt, "script")}
		accounts := NewAccounts(nil)
		w.puller = New(Options{Engine: w.host, Accounts: accounts, Limits: quick, Now: func() time.Time { return w.now }})
		defer w.puller.Close()
		w.cleaner = NewCleaner(CleanerOptions{
			Engine: w.host, Accounts: accounts, Puller: w.puller, Tasks: w.host, Now: func() time.Time { return w.now },
			Untracked: rapid.Bool().Draw(rt, "untracked"), PerCycle: rapid.IntRange(1, 3).Draw(rt, "per cycle"),
			Disk: Watermarks{High: 50, Low: rapid.IntRange(1, 49).Draw(rt, "low"), Used: func(context.Context) (float64, error) {
				w.host.mu.Lock()
				defer w.host.mu.Unlock()
				return float64(10 * len(w.host.images)), nil
			}},
		})
		if !rapid.Bool().Draw(rt, "tasks tell what they need") {
			w.cleaner.opts.Tasks, w.host.secret = nil, true
		}
		w.host.during = w.meanwhile
		for len(w.script) > 0 && len(w.host.wrong) == 0 {
			w.step()
		}
		if len(w.host.wrong) > 0 {
			rt.Fatal(strings.Join(w.host.wrong, "\n"))
		}
	})
}

// cleanWorld plays a script on a host. One thing happens at a time, but what happens
// may fall into the middle of any call to the engine.
type cleanWorld struct {
	host    *host
	puller  *Puller
	cleaner *Cleaner
	now     time.Time
	script  []int
	deep    int
	getting int // a task gets its image: another that did would wait for it
	made    int
	tasks   []*cleanTask
}

type cleanTask struct {
	ref, container string
	has            bool // its image
}

func (w *cleanWorld) next(n int) int {
	if len(w.script) == 0 {
		return 0
	}
	v := w.script[0]
	w.script = w.script[1:]
	return v % n
}

// meanwhile is what happens before a call takes effect; often nothing.
func (w *cleanWorld) meanwhile(string) {
	if w.deep < 2 && w.next(3) == 1 {
		w.deep++
		w.step()
		w.deep--
	}
}

func (w *cleanWorld) step() {
	switch w.next(8) {
	case 0, 1:
		ref := []string{"a", "a:latest", "b:1", "docker.io/library/b:1", "c"}[w.next(5)]
		if w.next(3) == 0 || w.host.registry[localName(ref)] == "" {
			w.made++
			w.host.mu.Lock()
			w.host.registry[localName(ref)] = fmt.Sprintf("sha256:%d", w.made)
			w.host.mu.Unlock()
		}
		w.host.need(localName(ref), 1)
		w.tasks = append(w.tasks, &cleanTask{ref: ref})
	case 2, 3, 4:
		if len(w.tasks) > 0 && w.getting == 0 {
			w.advance(w.tasks[w.next(len(w.tasks))])
		}
	case 5:
		w.now = w.now.Add(time.Duration(w.next(3)) * time.Hour)
	case 6:
		w.report(w.cleaner.Cycle(context.Background()))
	case 7:
		w.report(w.cleaner.Relieve(context.Background()))
	}
}

func (w *cleanWorld) report(err error) {
	if err != nil {
		w.host.mu.Lock()
		defer w.host.mu.Unlock()
		w.host.wrong = append(w.host.wrong, err.Error())
	}
}

// advance lets a task get its image, create its container, or end.
func (w *cleanWorld) advance(t *cleanTask) {
	switch {
	case !t.has:
		w.get(t)
		t.has = true
	case t.container == "":
		if !w.create(t) { // as the engine does when the image is gone
			w.puller.Forget(t.ref)
			w.get(t)
			if !w.create(t) {
				w.report(fmt.Errorf("no image %s for a container", t.ref))
			}
		}
	default:
		w.host.mu.Lock()
		delete(w.host.containers, t.container)
		w.host.mu.Unlock()
		w.host.need(localName(t.ref), -1)
		w.tasks = slices.DeleteFunc(w.tasks, func(o *cleanTask) bool { return o == t })
		t.container = "gone"
	}
}

func (w *cleanWorld) get(t *cleanTask) {
	w.getting++
	local := localName(t.ref)
	w.host.get(local, 1)
	_, err := w.puller.Ensure(context.Background(), Request{Ref: t.ref})
	w.host.get(local, -1)
	w.getting--
	w.report(err)
}

func (w *cleanWorld) create(t *cleanTask) bool {
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	img := w.host.find(t.ref)
	if img == nil {
		return false
	}
	w.made++
	t.container = fmt.Sprint("c", w.made)
	w.host.containers[t.container] = &runtime.Container{ID: t.container, Image: img.ID, Status: task.ContainerRunning}
	return true
}

// While Docker is slow to delete, tasks get their images, be it the very image.
func TestSlowDeleteBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, deletes := newHost(), make(chan struct{})
		c, accounts := cleaned(t, h, []Record{
			{Image: RecordImage{ImageID: "sha256:1", Names: []string{"a", "a2"}}}, {Image: RecordImage{ImageID: "sha256:2", Names: []string{"b"}}},
		}, CleanerOptions{Now: time.Now})
		h.registry[localName("b")], h.registry[localName("a")], h.registry[localName("a2")] = "sha256:2", "sha256:1", "sha256:1"
		h.during = func(call string) {
			if call == "remove image" {
				<-deletes
			}
		}
		done := make(chan error, 1)
		go func() { done <- c.Cycle(context.Background()) }()
		synctest.Wait()
		for _, ref := range []string{"b", "a"} {
			h.need(localName(ref), 1)
			if r, err := c.opts.Puller.Ensure(context.Background(), Request{Ref: ref}); err != nil || r.ImageID == "" {
				t.Errorf("%+v, %v", r, err)
			}
		}
		close(deletes)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if !slices.Equal(h.gone(), []string{"a"}) {
			t.Errorf("removed %q: b, and a by its other name, were asked for meanwhile", h.gone())
		}
		if len(accounts.Records()) != 2 {
			t.Errorf("%+v", accounts.Records())
		}
		c.opts.Puller.Close()
	})
}

func TestCleanerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		c, accounts := cleaned(t, h, nil, CleanerOptions{Now: time.Now})
		h.have("1", 1, time.Now(), "a")
		accounts.Used("a", runtime.Image{ID: "1"}, time.Now())
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if len(h.gone()) != 0 {
			t.Errorf("removed %q too early", h.gone())
		}
		time.Sleep(32 * time.Minute)
		synctest.Wait()
		if !slices.Equal(h.gone(), []string{"a"}) {
			t.Errorf("removed %q", h.gone())
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		c.opts.Puller.Close()
	})
}

// The disk decides alone: oldest use first, whatever the age, down to the low mark and
// no further; at once after a pull, else within a minute.
func TestWatermarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		var mu sync.Mutex // of the next three
		percent, looks := 80.0, 0
		var failure error
		h.during = func(call string) {
			mu.Lock()
			defer mu.Unlock()
			if call == "remove image" {
				percent -= 12
			}
		}
		records := []Record{
			record("1", time.Minute, 4*time.Minute, "a"), record("2", time.Minute, 3*time.Minute, "b"),
			record("3", time.Minute, 2*time.Minute, "c"), record("4", time.Minute, time.Minute, "d"),
		}
		c, _ := cleaned(t, h, records, CleanerOptions{Idle: true, Disk: Watermarks{High: 85, Low: 70, Used: func(context.Context) (float64, error) {
			mu.Lock()
			defer mu.Unlock()
			looks++
			return percent, failure
		}}})
		h.need(localName("b"), 1)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		for _, step := range []struct {
			percent float64
			kick    bool
			err     error
			removed string
			left    float64
		}{
			{percent: 85, kick: true, removed: "", left: 85},
			{percent: 86, err: errors.New("no such directory"), removed: "", left: 86},
			{percent: 86, kick: true, removed: "a c", left: 62},
			{percent: 99, removed: "a c d", left: 87},
			{percent: 99, removed: "a c d", left: 99},
			{percent: 20, removed: "a c d", left: 20},
		} {
			mu.Lock()
			percent, failure = step.percent, step.err
			before := looks
			mu.Unlock()
			if step.kick {
				c.Kick()
			} else {
				time.Sleep(time.Minute)
			}
			synctest.Wait()
			got := strings.Join(h.gone(), " ")
			mu.Lock()
			if got != step.removed || percent != step.left || looks == before {
				t.Errorf("%+v: removed %q, %v%% left, looked %d times", step, got, percent, looks-before)
			}
			mu.Unlock()
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || len(h.wrong) > 0 {
			t.Error(err, h.wrong)
		}
		c.opts.Puller.Close()
	})
}

// Without watermarks nobody looks at the disk.
func TestWatermarksAreOff(t *testing.T) {
	c, _ := cleaned(t, newHost(), nil, CleanerOptions{Disk: Watermarks{Used: func(context.Context) (float64, error) {
		t.Error("looked at the disk")
		return 100, nil
	}}})
	c.Kick()
	if err := c.Relieve(context.Background()); err != nil || len(c.kick) != 0 {
		t.Error(err)
	}
}

// Whatever happens to names: every name belongs to at most one image, and Changes
// tells of every difference.
func TestAccountsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := NewAccounts(nil)
		kept := map[string]Record{}
		name := rapid.SampledFrom([]string{"a", "b", "c"})
		id := rapid.SampledFrom([]string{"1", "2", "3"})
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				a.Used(name.Draw(t, "name"), runtime.Image{ID: id.Draw(t, "id")}, time.Unix(1, 0))
			case 1:
				n := name.Draw(t, "name")
				a.Confirmed(n)
			case 2:
				a.Gone(name.Draw(t, "name"))
			case 3:
				a.Drop(id.Draw(t, "id"))
			}
			if rapid.Bool().Draw(t, "store") {
				store(a, kept)
			}
		}
		select {
		case <-a.Dirty():
		default:
		}
		store(a, kept)
		owner := map[string]string{}
		for _, r := range a.Records() {
			for _, n := range r.Image.Names {
				if owner[n] != "" {
					t.Fatalf("%s belongs to %s and %s", n, owner[n], r.Image.ImageID)
				}
				owner[n] = r.Image.ImageID
			}
			if fmt.Sprint(kept[r.Image.ImageID]) != fmt.Sprint(r) {
				t.Fatalf("kept %+v, is %+v", kept[r.Image.ImageID], r)
			}
			delete(kept, r.Image.ImageID)
		}
		if len(kept) != 0 {
			t.Fatalf("kept although gone: %v", kept)
		}
	})
}

func store(a *Accounts, kept map[string]Record) {
	saved, gone := a.Changes()
	for _, r := range saved {
		kept[r.Image.ImageID] = r
	}
	for _, id := range gone {
		delete(kept, id)
	}
}
