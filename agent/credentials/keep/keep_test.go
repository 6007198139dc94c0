package keep

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ecsagent/agent/credentials"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type memory struct {
	mu    sync.Mutex
	data  []byte
	saves int
	err   error
	takes time.Duration
}

func (m *memory) Load() ([]byte, error) { return m.data, m.err }
func (m *memory) String() string        { return "memory" }

func (m *memory) Save(data []byte) error {
	time.Sleep(m.takes)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saves++
	if m.err == nil {
		m.data = slices.Clone(data)
	}
	return m.err
}

func everybody(string) bool { return true }

func set(id, arn string) credentials.Set {
	return credentials.Set{ID: id, TaskARN: arn, Role: credentials.Application, RoleARN: "role", AccessKeyID: "key",
		SecretAccessKey: "hunter2", SessionToken: "token", Expiration: "2026-02-03T16:11:12Z"}
}

func TestSetsOutliveTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := &memory{}
		ctx, cancel := context.WithCancel(t.Context())
		store := credentials.New()
		done := make(chan error)
		go func() { done <- New(Options{Store: store, Place: place, Known: everybody, Log: zap.NewNop()}).Run(ctx) }()
		store.Put(set("a", "t1"))
		store.Put(set("b", "t2"))
		synctest.Wait()

		again := credentials.New()
		fresh := set("b", "t2")
		fresh.AccessKeyID = "newer"
		again.Put(fresh)
		k := New(Options{Store: again, Place: place, Known: func(arn string) bool { return arn != "t3" }, Log: zap.NewNop()})
		if n, err := k.Restore(); n != 1 || err != nil {
			t.Errorf("%d restored, error %v", n, err)
		}
		if got, ok := again.Get("a"); !ok || got != set("a", "t1") {
			t.Errorf("restored %+v", got)
		}
		if got, _ := again.Get("b"); got.AccessKeyID != "newer" {
			t.Error("what came since was replaced by what was kept")
		}
		store.RemoveTask("t1")
		store.Put(set("c", "t3"))
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		last := credentials.New()
		k = New(Options{Store: last, Place: place, Known: func(arn string) bool { return arn != "t3" }, Log: zap.NewNop()})
		if n, err := k.Restore(); n != 1 || err != nil {
			t.Errorf("%d restored, error %v", n, err)
		}
		if _, ok := last.Get("b"); !ok {
			t.Error("what was there at the end was not kept")
		}
	})
}

// Saving takes a small part of the time however many changes there are.
func TestSavingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := &memory{takes: 10 * time.Millisecond}
		ctx, cancel := context.WithCancel(t.Context())
		store := credentials.New()
		done := make(chan error)
		go func() { done <- New(Options{Store: store, Place: place, Known: everybody, Log: zap.NewNop()}).Run(ctx) }()
		for range 1000 {
			store.Put(set("a", "t1"))
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if place.saves > 26 {
			t.Errorf("%d saves of 10ms in 5s", place.saves)
		}
	})
}

func TestDamageIsToldWithoutSecrets(t *testing.T) {
	for _, data := range []string{`{"Format":1,"Sets":[{"SecretAccessKey":"hunter2`, `{"Format":2,"Sets":[{"SecretAccessKey":"hunter2"}]}`, "hunter2"} {
		k := New(Options{Store: credentials.New(), Place: &memory{data: []byte(data)}, Known: everybody})
		n, err := k.Restore()
		if n != 0 || err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %d, %v", data, n, err)
		}
	}
	k := New(Options{Store: credentials.New(), Place: &memory{data: []byte(`{"Format":1,"Sets":[{"ID":""},{"ID":"a","TaskARN":"t","Role":"x"}]}`)}, Known: everybody})
	if n, err := k.Restore(); n != 0 || err != nil {
		t.Errorf("sets that cannot be used: %d, %v", n, err)
	}
}

func TestFailureIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.ErrorLevel)
		place := &memory{err: errors.New("full")}
		ctx, cancel := context.WithCancel(t.Context())
		store := credentials.New()
		done := make(chan error)
		go func() { done <- New(Options{Store: store, Place: place, Log: zap.New(core)}).Run(ctx) }()
		for range 5 {
			store.Put(set("a", "t1"))
			time.Sleep(time.Second)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if logs.Len() != 1 {
			t.Errorf("%d log lines", logs.Len())
		}
	})
}

func FuzzDecode(f *testing.F) {
	good, _ := encode([]credentials.Set{set("a", "t1")})
	f.Add(good)
	f.Add([]byte(`{"Format":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		sets, err := decode(data)
		if err != nil {
			return
		}
		again, err := encode(sets)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decode(again); err != nil || len(back) != len(sets) {
			t.Errorf("%d sets, then %d (%v)", len(sets), len(back), err)
		}
	})
}
