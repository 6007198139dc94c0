package network

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type memory struct {
	mu   sync.Mutex
	recs map[string]Attachment
	err  error
}

func (m *memory) SaveAttachment(a Attachment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.recs[a.Key()] = a
	return nil
}

func (m *memory) DeleteAttachment(key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	delete(m.recs, key)
	return nil
}

func (m *memory) all() map[string]Attachment {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.recs)
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

type bench struct {
	*Attachments
	store    *memory
	attached []Attachment
}

// open runs Attachments inside the bubble of a synctest test.
func open(t *testing.T, saved ...Attachment) *bench {
	b := &bench{store: &memory{recs: make(map[string]Attachment)}}
	for _, s := range saved {
		b.store.recs[s.Key()] = s
	}
	b.Attachments = New(Options{
		Store: b.store, Saved: saved, Log: zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel)),
		Attached: func(a Attachment) { b.attached = append(b.attached, a) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan error, 1)
	go func() { finished <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-finished; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
	return b
}

func eni(mac string, in time.Duration) Attachment {
	return Attachment{Kind: TaskENI, ARN: "arn:" + mac, MAC: mac, TaskARN: "task", ExpiresAt: time.Now().Add(in)}
}

func TestFoundInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		ctx := t.Context()
		if err := b.Add(ctx, eni("0a:1B", time.Minute)); err != nil {
			t.Fatal(err)
		}
		repeat := eni("0a:1b", time.Hour)
		repeat.ARN = "arn:0a:1B"
		if err := b.Add(ctx, repeat); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		got, ok := b.Found(ctx, "0A:1b")
		if !ok || got.Status != StatusAttached || got.ARN != "arn:0a:1B" {
			t.Fatalf("Found = %+v, %v: a repeat must not replace the first record", got, ok)
		}
		if _, ok := b.FoundVolume(ctx, "0a:1b"); ok {
			t.Error("an interface was found as a volume")
		}
		b.Found(ctx, "0a:1b")
		if len(b.attached) != 1 {
			t.Errorf("reported %d times, want once", len(b.attached))
		}
		if err := b.Sent(ctx, "arn:0a:1B"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if all := b.All(); len(all) != 1 || !all[0].Sent {
			t.Errorf("a sent attachment must outlive its deadline, got %+v", all)
		}
		if r := b.store.all()["0a:1b"]; !r.Sent || r.Status != StatusAttached {
			t.Errorf("saved %+v", r)
		}
		if err := b.RemoveTask(ctx, "task"); err != nil {
			t.Fatal(err)
		}
		if len(b.All()) != 0 || len(b.store.all()) != 0 {
			t.Error("the record of a removed task stays")
		}
	})
}

// Each record has its own deadline (docs/spec/01 chapter 6, 7).
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		ctx := t.Context()
		for mac, in := range map[string]time.Duration{"a": 10 * time.Second, "b": 20 * time.Second, "c": 20 * time.Second, "late": 0} {
			if err := b.Add(ctx, eni(mac, in)); err != nil {
				t.Fatal(err)
			}
		}
		left := func() (keys []string) {
			synctest.Wait()
			for _, a := range b.All() {
				keys = append(keys, a.Key())
			}
			if len(keys) != len(b.store.all()) {
				t.Errorf("store holds %d, memory %d", len(b.store.all()), len(keys))
			}
			return keys
		}
		time.Sleep(11 * time.Second)
		if diff := cmp.Diff([]string{"b", "c"}, left()); diff != "" {
			t.Error(diff)
		}
		b.Found(ctx, "c") // attached, but ECS never accepts it
		time.Sleep(10 * time.Second)
		if diff := cmp.Diff([]string(nil), left()); diff != "" {
			t.Error(diff)
		}
		if _, ok := b.Found(ctx, "a"); ok {
			t.Error("an expired record was found")
		}
	})
}

func TestDeviceSeenBeforeItsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		ctx := t.Context()
		if _, ok := b.Found(ctx, "a"); ok {
			t.Fatal("found without a record")
		}
		b.Found(ctx, "b")
		time.Sleep(6 * time.Second)
		if err := b.Add(ctx, eni("a", time.Minute)); err != nil {
			t.Fatal(err)
		}
		if len(b.attached) != 1 {
			t.Errorf("reported %+v, want a", b.attached)
		}
		time.Sleep(SeenFor)
		if err := b.Add(ctx, eni("b", time.Minute)); err != nil {
			t.Fatal(err)
		}
		if len(b.attached) != 1 {
			t.Error("a device seen long ago must be seen again")
		}
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pending, found, gone := eni("p", time.Minute), eni("f", time.Minute), eni("g", -time.Minute)
		found.Status = StatusAttached
		volume := Attachment{Kind: EBSVolume, ARN: "arn:v", VolumeID: "vol-1", ExpiresAt: time.Now().Add(time.Minute)}
		b := open(t, pending, found, gone, volume)
		if len(b.attached) != 1 || b.attached[0].MAC != "f" {
			t.Errorf("reported at start: %+v, want f", b.attached)
		}
		if len(b.All()) != 3 || len(b.store.all()) != 3 {
			t.Errorf("kept %+v, want all but the expired one", b.All())
		}
		if _, ok := b.FoundVolume(t.Context(), "vol-1"); !ok || len(b.attached) != 2 {
			t.Errorf("volume not found: %+v", b.attached)
		}
	})
}

func TestStoreFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		b.opts.Log = zap.NewNop()
		ctx := t.Context()
		boom := errors.New("disk full")
		b.store.fail(boom)
		if err := b.Add(ctx, eni("a", time.Minute)); !errors.Is(err, boom) {
			t.Fatalf("Add = %v, want the store's error", err)
		}
		if len(b.All()) != 0 {
			t.Error("what is not durable must not be recorded")
		}
		b.store.fail(nil)
		if err := b.Add(ctx, eni("a", time.Minute)); err != nil {
			t.Fatal(err)
		}
		b.store.fail(boom)
		b.Found(ctx, "a")
		b.store.fail(nil)
		time.Sleep(saveRetry + time.Second)
		synctest.Wait()
		if b.store.all()["a"].Status != StatusAttached {
			t.Error("a failed write was not repeated")
		}
	})
}

func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Options{Store: &memory{}, Log: zap.NewNop(), Attached: func(Attachment) {}})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := a.Add(ctx, eni("a", time.Minute)); !errors.Is(err, context.Canceled) {
			t.Errorf("Add = %v", err)
		}
		if err := a.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
		if err := a.Add(t.Context(), eni("a", time.Minute)); !errors.Is(err, ErrClosed) {
			t.Errorf("Add = %v", err)
		}
	})
}

func TestRecordRoundTrip(t *testing.T) {
	in := Attachment{Kind: EBSVolume, ARN: "x", VolumeID: "v", Status: StatusAttached, Sent: true,
		ExpiresAt: time.Unix(1735787045, 0).UTC(), Properties: map[string]string{"a": "b"}}
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Attachment
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
	if err := json.Unmarshal([]byte(`{"Status":"HALFWAY"}`), &out); err == nil {
		t.Error("an unknown status was accepted")
	}
}

// A MAC that comes again for another attachment is confirmed again, once the device is
// there again (docs/spec/05 section 7.3, A3).
func TestMACIsUsedAgain(t *testing.T) {
	for _, early := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := open(t)
			ctx := t.Context()
			add := func(arn, task string) {
				t.Helper()
				n := eni("0a:1b", time.Minute)
				n.ARN, n.TaskARN = arn, task
				if err := b.Add(ctx, n); err != nil {
					t.Fatal(err)
				}
			}
			confirmed := func(want ...string) {
				t.Helper()
				synctest.Wait()
				var got []string
				for _, a := range b.attached {
					got = append(got, a.ARN)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
			add("first", "task 1")
			if !b.Waiting() {
				t.Error("nothing is waited for")
			}
			b.Found(ctx, "0a:1b")
			if err := errors.Join(b.Sent(ctx, "first"), b.Gone(ctx, "0a:1b")); err != nil {
				t.Fatal(err)
			}
			// Back from the task, and detached.
			b.Found(ctx, "0a:1b")
			if err := b.Gone(ctx, "0a:1b"); err != nil || b.Waiting() {
				t.Error(err, "or something is waited for")
			}
			if early {
				b.Found(ctx, "0a:1b")
			}
			confirmed("first")
			add("second", "task 2")
			if !early {
				confirmed("first")
				b.Found(ctx, "0a:1b")
			}
			confirmed("first", "second")
			// The first task's clean-up does not touch it.
			if err := b.RemoveTask(ctx, "task 1"); err != nil || len(b.All()) != 1 {
				t.Errorf("%v, records %+v", err, b.All())
			}
		})
	}
}
