package fault

import (
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// step is one thing that is done in a soak.
type step struct {
	at    time.Duration // since the beginning, at the earliest
	what  string        // of moves
	pick  int           // which task, definition or percentage; not negative
	lasts time.Duration // of what ends by itself
}

// moves is what a soak consists of, with the weights by which it is drawn.
var moves = []struct {
	what   string
	weight int
}{
	{"run a task", 24}, {"stop a task", 12},
	{"kill the agent", 8}, {"kill the control plane", 2},
	{"cut connections", 4}, {"network gone", 4}, {"network silent", 2}, {"connections forgotten", 2}, {"network slow", 2},
	{"ECS fails", 4},
	{"event streams end", 4}, {"Docker fails", 4}, {"Docker slow", 4}, {"Docker silent", 2}, {"Docker gone", 2},
	{"kill the engine", 1}, {"ask for credentials", 12},
}

// The longest pause between two steps, and the longest fault.
const (
	pauseMax = 700 * time.Millisecond
	lastsMax = 4 * time.Second
)

// plan draws the steps of a soak. They depend on nothing but the seed, so that a repeat
// does the same whatever comes of it.
func plan(seed uint64, length time.Duration) iter.Seq[step] {
	total := 0
	for _, m := range moves {
		total += m.weight
	}
	return func(yield func(step) bool) {
		random := rand.New(rand.NewPCG(seed, 1))
		for at := time.Duration(0); at < length; {
			s := step{at: at, pick: int(random.Uint32() >> 1), lasts: 200*time.Millisecond + time.Duration(random.Int64N(int64(lastsMax)))}
			n := random.IntN(total)
			for _, m := range moves {
				if n -= m.weight; n < 0 {
					s.what = m.what
					break
				}
			}
			if !yield(s) {
				return
			}
			at += time.Duration(random.Int64N(int64(pauseMax)))
		}
	}
}

// dice decides what becomes of single calls: the n-th call of a kind fares the same in
// every run of a seed.
type dice struct {
	seed uint64

	mu     sync.Mutex
	rolled map[string]uint64
}

func newDice(seed uint64) *dice { return &dice{seed: seed, rolled: make(map[string]uint64)} }

// roll returns what the next call of a kind draws from.
func (d *dice) roll(kind string) *rand.Rand {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rolled[kind]++
	h := fnv.New64a()
	_, _ = h.Write([]byte(kind))
	return rand.New(rand.NewPCG(d.seed, h.Sum64()+d.rolled[kind]))
}

// TestSoakReplays: a seed stands for one run, and minutes are enough for every move.
func TestSoakReplays(t *testing.T) {
	once := slices.Collect(plan(7, 10*time.Minute))
	if again := slices.Collect(plan(7, 10*time.Minute)); !slices.Equal(once, again) {
		t.Error("the same seed drew other steps")
	}
	if other := slices.Collect(plan(8, 10*time.Minute)); slices.Equal(once, other) {
		t.Error("another seed drew the same steps")
	}
	if short := slices.Collect(plan(7, time.Minute)); !slices.Equal(once[:len(short)], short) {
		t.Error("a shorter run is not the beginning of the longer one")
	}
	for _, m := range moves {
		if !slices.ContainsFunc(once, func(s step) bool { return s.what == m.what }) {
			t.Errorf("%q never comes in ten minutes", m.what)
		}
	}
	one, two := newDice(7), newDice(7)
	var a, b []uint64
	for range 3 {
		a = append(a, one.roll("x").Uint64(), one.roll("y").Uint64())
	}
	for range 3 {
		y := two.roll("y").Uint64()
		b = append(b, two.roll("x").Uint64(), y)
	}
	if !slices.Equal(a, b) || a[0] == a[1] || a[0] == a[2] {
		t.Errorf("calls fare differently: %v and %v", a, b)
	}
}
