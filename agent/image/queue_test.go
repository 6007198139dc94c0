package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Turns come in the order of asking; free places are never left empty while somebody
// waits; places count from 1 without a gap; everything is given back.
func TestQueueProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 3).Draw(t, "size")
		q := newQueue(size)
		var line []*turn // in the order of joining
		came := func(x *turn) bool {
			select {
			case <-x.come:
				return true
			default:
				return false
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			pick := func() *turn { return line[rapid.IntRange(0, len(line)-1).Draw(t, "who")] }
			switch step := rapid.IntRange(0, 4).Draw(t, "step"); {
			case step < 2 || len(line) == 0:
				line = append(line, q.join())
			case step == 2:
				x := pick()
				x.leave()
				x.aside()
				x.again() // the timer of a pull that has left may still go off
				for i := range line {
					if line[i] == x {
						line = append(line[:i:i], line[i+1:]...)
						break
					}
				}
			case step == 3:
				if x := pick(); came(x) {
					x.aside()
				}
			case step == 4:
				if x := pick(); came(x) {
					x.again()
				}
			}
			holding, place, waiting := 0, 0, false
			for _, x := range line {
				if came(x) {
					if waiting {
						t.Fatal("a turn came out of order")
					}
					if x.holds {
						holding++
					}
					continue
				}
				waiting = true
				place++
				if x.place() != place {
					t.Fatalf("place %d, want %d", x.place(), place)
				}
			}
			if waiting && holding < size {
				t.Fatalf("%d of %d places taken although somebody waits", holding, size)
			}
			if q.free != size-holding {
				t.Fatalf("%d places free, %d of %d taken", q.free, holding, size)
			}
		}
	})
}

// A pull says where it is in the queue while the queue moves, how far it is, and what
// went wrong before.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		steps := map[string]chan error{"a:1": make(chan error), "b:1": make(chan error), "c:1": make(chan error)}
		f.pullHook = func(ctx context.Context, ref string) error {
			select {
			case err := <-steps[strings.TrimPrefix(ref, "docker.io/library/")]:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		limits := quick
		limits.PullRetry.First, limits.PullRetry.Max = time.Second, time.Second
		p := New(Options{Engine: f, Behavior: task.PullAlways, Limits: limits, Parallel: 1})
		defer p.Close()
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(context.Background())
		ask := func(ctx context.Context, ref string) {
			wg.Go(func() { _, _ = p.Ensure(ctx, Request{Ref: ref}) })
			synctest.Wait()
		}
		want := func(a, b, c string) {
			t.Helper()
			synctest.Wait()
			for ref, want := range map[string]string{"a:1": a, "b:1": b, "c:1": c} {
				if got := p.Progress(Request{Ref: ref}); got != want {
					t.Errorf("%s: %q, want %q", ref, got, want)
				}
			}
		}
		want("", "", "")
		ask(context.Background(), "a:1")
		ask(ctx, "b:1")
		ask(context.Background(), "b:1")
		ask(context.Background(), "c:1")
		const far = "1 of 2 layers, 1.5 of 20.0 MB"
		want(far, "1st in queue", "2nd in queue")
		cancel() // one of two tasks gives up: the pull of the other keeps its place
		want(far, "1st in queue", "2nd in queue")
		steps["a:1"] <- fail(namePull, "toomanyrequests", nil)
		time.Sleep(2 * time.Second)
		want(far+", 2nd attempt after: CannotPullContainerError: Error response from daemon: toomanyrequests", "1st in queue", "2nd in queue")
		steps["a:1"] <- nil
		want("", far, "1st in queue")
		// b stands still: c goes on in its place, and b keeps going when it moves again.
		time.Sleep(standstill + 2*time.Second)
		want("", far+", no progress for 12s", far)
		f.tell("docker.io/library/b:1")
		want("", far, far)
		steps["c:1"] <- nil
		steps["b:1"] <- nil
		wg.Wait()
		want("", "", "")
		if p.queue.free != 1 {
			t.Errorf("%d places free", p.queue.free)
		}
		if got := p.Progress(Request{Ref: "A b"}) + p.Progress(Request{Ref: "a", Auth: ecrAuth(true)}); got != "" {
			t.Errorf("progress of nothing: %q", got)
		}
	})
}

// Pulls from a registry that does not answer step aside, as many at a time as there are
// places.
func TestStalledPullsStepAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.pullHook = func(ctx context.Context, ref string) error {
			if strings.HasPrefix(ref, "dead.example/") {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		p := New(Options{Engine: f, Behavior: task.PullAlways, Limits: quick, Parallel: 2})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				_, err := p.Ensure(context.Background(), Request{Ref: fmt.Sprintf("dead.example/a:%d", i)})
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		begin := time.Now()
		if _, err := p.Ensure(context.Background(), Request{Ref: "live.example/a"}); err != nil {
			t.Error(err)
		}
		if took, most := time.Since(begin), 10*standstill; took > most {
			t.Errorf("took %s, want at most %s", took, most)
		}
		p.Close()
		wg.Wait()
	})
}

// An image that goes away while it is pulled is pulled again, once.
func TestGoneRightAfterItsPull(t *testing.T) {
	for times, want := range map[int]string{0: "", 1: "", 2: `CannotPullContainerError: image "a:1" is gone right after its pull`} {
		f := newFake()
		f.hooks["inspect"] = failing(times, fail(nameManifest, "No such image", runtime.ErrNotFound))
		p := newPuller(t, f, behavior(task.PullAlways))
		_, err := p.Ensure(context.Background(), Request{Ref: "a:1"})
		if reasonOf(err) != want || f.count("pull") != min(times, 1)+1 {
			t.Errorf("gone %d times: %v after %d pulls", times, err, f.count("pull"))
		}
	}
}

// With upfront pulls, a local image makes up for a failed pull with once too
// (docs/spec/02 section 5.1).
func TestOnceUpfront(t *testing.T) {
	for _, upfront := range []bool{false, true} {
		f := newFake()
		f.have("a:1", "sha256:1")
		f.hooks["pull"] = func(context.Context, int) error { return fail(namePull, "denied", runtime.ErrDenied) }
		ended := 0
		p := newPuller(t, f, func(o *Options) {
			o.Behavior, o.Upfront, o.Ended = task.PullOnce, upfront, func() { ended++ }
		})
		r, err := p.Ensure(context.Background(), Request{Ref: "a:1"})
		if (err == nil) != upfront || (r.ImageID == "sha256:1") != upfront || ended != 1 {
			t.Errorf("upfront %v: %+v, %v, %d attempts ended", upfront, r, err, ended)
		}
	}
}
