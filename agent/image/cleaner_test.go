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
)

// fakeStore is the engine as the cleaner sees it.
type fakeStore struct {
	mu      sync.Mutex
	images  []runtime.Image
	used    []string
	removed []string
	errs    map[string]error
	block   chan struct{} // a removal waits for it
}

func (f *fakeStore) ListImages(context.Context) ([]runtime.Image, error) {
	return slices.DeleteFunc(slices.Clone(f.images), func(img runtime.Image) bool {
		return len(img.Tags) > 0 && slices.Contains(f.removed, img.Tags[0])
	}), nil
}

func (f *fakeStore) UsedImages(context.Context) ([]string, error) { return f.used, nil }

func (f *fakeStore) RemoveImage(_ context.Context, ref string) error {
	if f.block != nil {
		<-f.block
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.errs[ref]; err != nil {
		return err
	}
	f.removed = append(f.removed, ref)
	return nil
}

// gone lists what was removed.
func (f *fakeStore) gone() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.removed)
}

var cleanNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ago(d time.Duration) time.Time { return cleanNow.Add(-d) }

func record(id string, pulled, used time.Duration, names ...string) Record {
	return Record{Image: RecordImage{ImageID: id, Names: names}, PulledAt: ago(pulled), LastUsedAt: ago(used)}
}

func TestCleanerCycle(t *testing.T) {
	inUse := fail("x", "conflict: image is being used", runtime.ErrConflict)
	gone := fail("x", "No such image", runtime.ErrNotFound)
	old := 2 * time.Hour
	tests := []struct {
		name    string
		records []Record
		store   *fakeStore
		opts    CleanerOptions
		removed string
		left    string
	}{
		{name: "least recently used first", opts: CleanerOptions{PerCycle: 2},
			records: []Record{record("1", old, time.Hour, "a"), record("2", old, 3*time.Hour, "b"), record("3", old, 2*time.Hour, "c")},
			removed: "b c", left: "1"},
		{name: "too young, just asked for, in use, excluded", opts: CleanerOptions{Exclude: []string{"keep:1"}},
			records: []Record{record("1", time.Minute, old, "a"), record("2", old, time.Minute, "b"), record("3", old, old, "c"), record("4", old, old, "keep:1", "x"), record("5", old, old, agentImage)},
			store:   &fakeStore{used: []string{"3"}}, left: "1 2 3 4 5"},
		{name: "all names, or the id", records: []Record{record("1", old, old, "a", "b"), record("2", old, old)}, removed: "a b 2"},
		{name: "errors", records: []Record{record("1", old, old, "a"), record("2", old, old, "b"), record("3", old, old, "c")},
			store: &fakeStore{errs: map[string]error{"a": inUse, "b": gone}}, removed: "c", left: "1"},
		{name: "strangers off", store: &fakeStore{images: []runtime.Image{{ID: "9", Created: ago(old)}}}},
		{name: "strangers, smallest first, within the budget", opts: CleanerOptions{Untracked: true, PerCycle: 3, Exclude: []string{"keep:1"}},
			records: []Record{record("1", old, old, "a")},
			store: &fakeStore{used: []string{"7"}, images: []runtime.Image{
				{ID: "9", Tags: []string{"big:1"}, Size: 9, Created: ago(old)}, {ID: "8", Tags: []string{"x:1", "x:2"}, Size: 8, Created: ago(old)},
				{ID: "7", Tags: []string{"used:1"}, Size: 1, Created: ago(old)}, {ID: "6", Tags: []string{"keep:1"}, Size: 1, Created: ago(old)},
				{ID: "5", Tags: []string{"new:1"}, Size: 1, Created: ago(time.Minute)}, {ID: "4", Size: 2, Created: ago(old)}, {ID: "1", Tags: []string{"a"}, Created: ago(old)},
			}},
			removed: "a 4 x:1 x:2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.store == nil {
				tt.store = &fakeStore{}
			}
			accounts := NewAccounts(tt.records)
			var forgotten []string
			tt.opts.Engine, tt.opts.Accounts, tt.opts.Now = tt.store, accounts, func() time.Time { return cleanNow }
			tt.opts.Forget = func(ref string) { forgotten = append(forgotten, ref); accounts.Gone(ref) }
			if err := NewCleaner(tt.opts).Cycle(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(tt.store.removed, " "); got != tt.removed {
				t.Errorf("removed %q, want %q", got, tt.removed)
			}
			var left []string
			for _, r := range accounts.Records() {
				left = append(left, r.Image.ImageID)
			}
			if got := strings.Join(left, " "); got != tt.left {
				t.Errorf("left %q, want %q", got, tt.left)
			}
			for _, ref := range tt.store.removed {
				if !slices.Contains(forgotten, ref) {
					t.Errorf("nobody was told of %s", ref)
				}
			}
		})
	}
}

// While Docker is slow to delete, tasks get their images.
func TestSlowDeleteBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		accounts := NewAccounts([]Record{{Image: RecordImage{ImageID: "1", Names: []string{"a"}}}, {Image: RecordImage{ImageID: "sha256:2", Names: []string{"b"}}}})
		store := &fakeStore{block: make(chan struct{})}
		f := newFake()
		f.have("b", "sha256:2")
		p := New(Options{Engine: f, Accounts: accounts, Limits: quick})
		defer p.Close()
		c := NewCleaner(CleanerOptions{Engine: store, Accounts: accounts, Forget: p.Forget})
		done := make(chan error, 1)
		go func() { done <- c.Cycle(context.Background()) }()
		synctest.Wait()
		if r, err := p.Ensure(context.Background(), Request{Ref: "b"}); err != nil || r.ImageID != "sha256:2" {
			t.Errorf("%+v, %v", r, err)
		}
		close(store.block)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if !slices.Equal(store.gone(), []string{"a"}) {
			t.Errorf("removed %q: b was asked for meanwhile", store.gone())
		}
	})
}

func TestCleanerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		accounts := NewAccounts(nil)
		accounts.Used("a", runtime.Image{ID: "1"}, time.Now())
		store := &fakeStore{}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- NewCleaner(CleanerOptions{Engine: store, Accounts: accounts}).Run(ctx) }()
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if len(store.gone()) != 0 {
			t.Errorf("removed %q too early", store.gone())
		}
		time.Sleep(32 * time.Minute)
		synctest.Wait()
		if !slices.Equal(store.gone(), []string{"a"}) {
			t.Errorf("removed %q", store.gone())
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
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
