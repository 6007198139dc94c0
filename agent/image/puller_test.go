package image

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	var reason *task.Error
	if !errors.As(err, &reason) {
		return "(no task error) " + err.Error()
	}
	return reason.Error()
}

func TestDigest(t *testing.T) {
	ctx := context.Background()
	tests := []struct {
		name     string
		behavior task.PullBehavior
		ref      string
		local    []string // repository digests of the local image; nil means no image
		remote   string
		pulled   bool // accounted as pulled before
		want     string
		wantErr  string
		calls    string
	}{
		{name: "registry", ref: "r.example/a:1", remote: digestA, want: digestA, calls: "digest r.example/a:1"},
		{name: "own digest", ref: "r.example/a@" + digestB, want: digestB},
		{name: "tag and digest", ref: "r.example/a:1@" + digestB, want: digestB},
		{name: "always", behavior: task.PullAlways, ref: "a", local: []string{"a@" + digestB}, remote: digestA, want: digestA, calls: "digest a"},
		{name: "unknown", ref: "r.example/a:1", wantErr: "CannotPullImageManifestError: Error response from daemon: name unknown", calls: "digest r.example/a:1"},
		{name: "prefer cached", behavior: task.PullPreferCached, ref: "a:1", local: []string{"other@" + digestA, "docker.io/library/a@" + digestB}, want: digestB, calls: "inspect a:1"},
		{name: "prefer cached, none local", behavior: task.PullPreferCached, ref: "a:1", remote: digestA, want: digestA, calls: "inspect a:1,digest a:1"},
		{name: "prefer cached, built here", behavior: task.PullPreferCached, ref: "a:1", local: []string{}, want: "", calls: "inspect a:1"},
		{name: "prefer cached, foreign digests", behavior: task.PullPreferCached, ref: "a:1", local: []string{"b@" + digestA}, wantErr: "CannotPullImageManifestError: failed to find a repo digest matching 'a:1'", calls: "inspect a:1"},
		{name: "once, first time", behavior: task.PullOnce, ref: "a:1", local: []string{"a@" + digestB}, remote: digestA, want: digestA, calls: "digest a:1"},
		{name: "once, again", behavior: task.PullOnce, ref: "a:1", local: []string{"a@" + digestB}, remote: digestA, pulled: true, want: digestB, calls: "inspect a:1"},
		{name: "malformed", ref: "A b", wantErr: `CannotPullImageManifestError: invalid reference format: "A b": invalid reference format: repository name (library/A b) must be lowercase`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			if tt.local != nil {
				f.have(tt.ref, "sha256:id", tt.local...)
			}
			if tt.remote != "" {
				f.remote[tt.ref] = tt.remote
			}
			accounts := NewAccounts(nil)
			if tt.pulled {
				accounts.Used(tt.ref, runtime.Image{ID: "sha256:id"}, time.Now())
				accounts.Confirmed(tt.ref)
			}
			p := newPuller(t, f, func(o *Options) { o.Behavior, o.Accounts = tt.behavior, accounts })
			got, err := p.Digest(ctx, Request{Ref: tt.ref})
			if got != tt.want || reasonOf(err) != tt.wantErr {
				t.Errorf("got %q, %s", got, reasonOf(err))
			}
			if calls := strings.Join(f.calls, ","); calls != tt.calls {
				t.Errorf("calls %s, want %s", calls, tt.calls)
			}
		})
	}
}

func TestEnsure(t *testing.T) {
	ctx := context.Background()
	gone := fail(namePull, "manifest for x not found: manifest unknown", runtime.ErrNotFound)
	tests := []struct {
		name       string
		behavior   task.PullBehavior
		ref        string
		digest     string
		local      []string
		pull       error
		wantErr    string
		wantDigest string
		wantPulled bool
		wantTimes  bool
		calls      string
	}{
		{name: "by tag", ref: "r.example/a:1", local: []string{"r.example/a@" + digestA}, wantDigest: digestA, wantPulled: true, wantTimes: true, calls: "pull r.example/a:1,inspect r.example/a:1"},
		{name: "latest", ref: "a", local: []string{}, wantPulled: true, wantTimes: true, calls: "pull docker.io/library/a:latest,inspect a"},
		{name: "by resolved digest", ref: "r.example/a:1", digest: digestA, local: []string{"r.example/a@" + digestB}, wantDigest: digestA, wantPulled: true, wantTimes: true,
			calls: "inspect r.example/a:1,pull r.example/a@" + digestA + ",tag r.example/a@" + digestA + " r.example/a:1,inspect r.example/a:1"},
		{name: "resolved digest is here", ref: "r.example/a:1", digest: digestA, local: []string{"r.example/a@" + digestA}, wantDigest: digestA, wantPulled: true, wantTimes: true, calls: "inspect r.example/a:1"},
		{name: "own digest", ref: "r.example/a:1@" + digestA, digest: digestA, local: []string{}, wantDigest: digestA, wantPulled: true, wantTimes: true,
			calls: "pull r.example/a@" + digestA + ",inspect r.example/a:1@" + digestA},
		{name: "default falls back", ref: "r.example/a:1", local: []string{"r.example/a@" + digestB}, pull: gone, wantDigest: digestB, wantTimes: true, calls: "pull r.example/a:1,inspect r.example/a:1"},
		{name: "default, nothing local", ref: "r.example/a:1", pull: gone, wantTimes: true,
			wantErr: "CannotPullContainerError: Error response from daemon: manifest for x not found: manifest unknown", calls: "pull r.example/a:1,inspect r.example/a:1"},
		{name: "always does not fall back", behavior: task.PullAlways, ref: "r.example/a:1", local: []string{}, pull: gone, wantTimes: true,
			wantErr: "CannotPullContainerError: Error response from daemon: manifest for x not found: manifest unknown", calls: "pull r.example/a:1"},
		{name: "once does not fall back", behavior: task.PullOnce, ref: "r.example/a:1", local: []string{}, pull: gone, wantTimes: true,
			wantErr: "CannotPullContainerError: Error response from daemon: manifest for x not found: manifest unknown", calls: "pull r.example/a:1"},
		{name: "prefer cached", behavior: task.PullPreferCached, ref: "a:1", local: []string{"a@" + digestA}, wantDigest: digestA, calls: "inspect a:1"},
		{name: "malformed", ref: "/", wantErr: `CannotPullContainerError: invalid reference format: "/": invalid reference format`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			if tt.local != nil {
				f.have(tt.ref, "sha256:id", tt.local...)
			}
			f.hooks["pull"] = func(context.Context, int) error { return tt.pull }
			p := newPuller(t, f, behavior(tt.behavior))
			got, err := p.Ensure(ctx, Request{Ref: tt.ref, Digest: tt.digest})
			if reasonOf(err) != tt.wantErr {
				t.Errorf("error %s, want %s", reasonOf(err), tt.wantErr)
			}
			if got.Digest != tt.wantDigest || got.Pulled != tt.wantPulled || got.StartedAt.IsZero() == tt.wantTimes || got.StoppedAt.IsZero() == tt.wantTimes {
				t.Errorf("got %+v", got)
			}
			if err == nil && (got.ImageID != "sha256:id" || !slices.Equal(got.Env, []string{"K=V"})) {
				t.Errorf("got %+v", got)
			}
			if calls := strings.Join(f.calls, ","); calls != tt.calls {
				t.Errorf("calls %s, want %s", calls, tt.calls)
			}
		})
	}
}

// Launches of a cached image cost no Docker call after the first; what changes
// images makes the puller look again.
func TestCachedLaunches(t *testing.T) {
	ctx := context.Background()
	f := newFake()
	f.have("a:1", "sha256:1", "a@"+digestA)
	p := newPuller(t, f, behavior(task.PullPreferCached))
	launch := func() string {
		t.Helper()
		d, err := p.Digest(ctx, Request{Ref: "a:1"})
		if err != nil || d == "" {
			t.Fatal(d, err)
		}
		r, err := p.Ensure(ctx, Request{Ref: "a:1", Digest: d})
		if err != nil {
			t.Fatal(err)
		}
		return r.ImageID
	}
	for range 10 {
		launch()
	}
	if len(f.calls) != 1 {
		t.Errorf("calls %q", f.calls)
	}
	f.have("a:1", "sha256:2", "a@"+digestB)
	p.Changed()
	if id := launch(); id != "sha256:2" || len(f.calls) != 2 {
		t.Errorf("after a change: %s, calls %q", id, f.calls)
	}
	f.have("a:1", "sha256:3", "a@"+digestB)
	p.Forget("a:1")
	if id := launch(); id != "sha256:3" || len(f.calls) != 3 {
		t.Errorf("after Forget: %s, calls %q", id, f.calls)
	}
}

// A launch from the cache counts as a use, so that the cleaner leaves the image.
func TestCachedLaunchIsAUse(t *testing.T) {
	now := time.Unix(1000, 0)
	f, accounts := newFake(), NewAccounts(nil)
	f.have("a:1", "sha256:1")
	p := newPuller(t, f, func(o *Options) {
		o.Behavior, o.Accounts, o.Now = task.PullPreferCached, accounts, func() time.Time { return now }
	})
	for range 2 {
		now = now.Add(time.Hour)
		if _, err := p.Ensure(context.Background(), Request{Ref: "a:1"}); err != nil {
			t.Fatal(err)
		}
	}
	if used := accounts.Records()[0].LastUsedAt; !used.Equal(now) || len(f.calls) != 1 {
		t.Errorf("last used %s, want %s; calls %q", used, now, f.calls)
	}
}

// An answer that was under way when images changed is not kept.
func TestCacheIgnoresOvertakenAnswers(t *testing.T) {
	c := newCache()
	mark := c.mark()
	c.clear()
	c.put("a", runtime.Image{ID: "old"}, mark)
	if img, ok := c.get("a"); ok {
		t.Errorf("kept %+v", img)
	}
}

// With the behaviour once, an image that was pulled is not pulled again, unless it
// was removed behind the agent's back.
func TestOnceHeals(t *testing.T) {
	ctx := context.Background()
	f := newFake()
	f.have("a:1", "sha256:1")
	p := newPuller(t, f, behavior(task.PullOnce))
	for range 2 {
		if _, err := p.Ensure(ctx, Request{Ref: "a:1"}); err != nil {
			t.Fatal(err)
		}
	}
	if f.count("pull") != 1 {
		t.Fatalf("%d pulls", f.count("pull"))
	}
	p.Forget("a:1") // create said: no such image
	if _, err := p.Ensure(ctx, Request{Ref: "a:1"}); err != nil || f.count("pull") != 2 {
		t.Errorf("%v, %d pulls", err, f.count("pull"))
	}
}

func TestRetries(t *testing.T) {
	ctx := context.Background()
	broken := errors.New("received unexpected HTTP status: 500")
	tests := []struct {
		name, method string
		times        int
		err          error
		wantCalls    int
		wantErr      string
	}{
		{"manifest heals", "digest", 8, broken, 9, ""},
		{"manifest does not heal", "digest", 9, fail(nameManifest, "500", nil), 9, "CannotPullImageManifestError: Error response from daemon: 500"},
		{"manifest denied", "digest", 9, fail(nameManifest, "no basic auth credentials", runtime.ErrDenied), 1, "CannotPullImageManifestError: Error response from daemon: no basic auth credentials"},
		{"pull heals", "pull", 4, broken, 5, ""},
		{"pull does not heal", "pull", 9, broken, 5, "CannotPullContainerError: received unexpected HTTP status: 500"},
		{"pull invalid", "pull", 9, fail(namePull, "no matching manifest", runtime.ErrInvalid), 1, "CannotPullContainerError: Error response from daemon: no matching manifest"},
		{"tag heals", "tag", 4, broken, 5, ""},
		{"tag does not heal", "tag", 9, broken, 5, `CannotPullContainerError: tag image "r.example/a@` + digestA + `" as "r.example/a:1": received unexpected HTTP status: 500`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			f.remote["r.example/a:1"] = digestA
			f.hooks[tt.method] = failing(tt.times, tt.err)
			p := newPuller(t, f, behavior(task.PullAlways))
			var err error
			if tt.method == "digest" {
				_, err = p.Digest(ctx, Request{Ref: "r.example/a:1"})
			} else {
				_, err = p.Ensure(ctx, Request{Ref: "r.example/a:1", Digest: digestA})
			}
			if reasonOf(err) != tt.wantErr || f.count(tt.method) != tt.wantCalls {
				t.Errorf("%d calls, %s", f.count(tt.method), reasonOf(err))
			}
		})
	}
}

// The waits between attempts are those of docs/spec/02 section 2.14 and start small
// for every operation.
func TestBackoff(t *testing.T) {
	for what, tt := range map[string]struct {
		retry Retry
		waits []time.Duration
	}{
		"manifest": {DefaultLimits().ManifestRetry, []time.Duration{10 * time.Millisecond, 30 * time.Millisecond, 90 * time.Millisecond, 270 * time.Millisecond,
			810 * time.Millisecond, 2430 * time.Millisecond, 5 * time.Second, 5 * time.Second}},
		"pull": {DefaultLimits().PullRetry, []time.Duration{1100 * time.Millisecond, 2200 * time.Millisecond, 4400 * time.Millisecond, 5 * time.Second}},
		"tag":  {DefaultLimits().TagRetry, []time.Duration{100 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond}},
	} {
		synctest.Test(t, func(t *testing.T) {
			for range 2 {
				var at []time.Time
				err := tt.retry.try(context.Background(), time.Hour, "x", func(context.Context) error {
					at = append(at, time.Now())
					return errors.New("no")
				})
				if err == nil || len(at) != len(tt.waits)+1 {
					t.Fatalf("%s: %d attempts, %v", what, len(at), err)
				}
				for i, want := range tt.waits {
					if got := at[i+1].Sub(at[i]); got < want || got > want+want/5+1 {
						t.Errorf("%s: wait %d is %s, want %s and up to a fifth", what, i, got, want)
					}
				}
			}
		})
	}
}

func TestTimeLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hooks["digest"], f.hooks["pull"], f.hooks["tag"] = blocked, blocked, blocked
		p := New(Options{Engine: f, Behavior: task.PullAlways})
		defer p.Close()
		ctx := context.Background()
		start := time.Now()
		_, err := p.Digest(ctx, Request{Ref: "a:1"})
		if reasonOf(err) != "DockerTimeoutError: Could not transition to MANIFEST_PULLED; timed out after waiting 1m0s" || time.Since(start) != time.Minute {
			t.Errorf("digest: %s after %s", reasonOf(err), time.Since(start))
		}
		start = time.Now()
		_, err = p.Ensure(ctx, Request{Ref: "a:1"})
		if reasonOf(err) != "DockerTimeoutError: Could not transition to pulled; timed out after waiting 2h0m0s" || time.Since(start) != 2*time.Hour {
			t.Errorf("pull: %s after %s", reasonOf(err), time.Since(start))
		}
		f.hooks["pull"] = nil
		start = time.Now()
		_, err = p.Ensure(ctx, Request{Ref: "a:1", Digest: digestA})
		if reasonOf(err) != "DockerTimeoutError: Could not transition to pulled; timed out after waiting 30s" || time.Since(start) != 30*time.Second {
			t.Errorf("tag: %s after %s", reasonOf(err), time.Since(start))
		}
		if !errors.Is(err, runtime.ErrTimeout) {
			t.Errorf("%v is not ErrTimeout", err)
		}
	})
}

// However many tasks want an image, it is pulled once; a different digest or login
// is another pull.
func TestOnePullForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.have("a:1", "sha256:1")
		release := make(chan struct{})
		f.hooks["pull"] = func(context.Context, int) error { <-release; return nil }
		p := New(Options{Engine: f, Behavior: task.PullAlways, Limits: quick})
		defer p.Close()
		var wg sync.WaitGroup
		want := func(req Request) {
			wg.Go(func() {
				if r, err := p.Ensure(context.Background(), req); err != nil || r.ImageID == "" && req.Ref == "a:1" {
					t.Errorf("%+v, %v", r, err)
				}
			})
		}
		for range 50 {
			want(Request{Ref: "a:1"})
		}
		want(Request{Ref: "b:1"})
		synctest.Wait()
		if n := f.count("pull"); n != 2 {
			t.Errorf("%d pulls", n)
		}
		close(release)
		wg.Wait()
		want(Request{Ref: "a:1"})
		wg.Wait()
		if n := f.count("pull"); n != 3 {
			t.Errorf("a later task: %d pulls", n)
		}
	})
}

// A task that gives up does not disturb the others; the last one to give up ends
// the pull, and whoever comes after starts a new one.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		ended := make(chan struct{}, 10)
		f.hooks["pull"] = func(ctx context.Context, _ int) error { <-ctx.Done(); ended <- struct{}{}; return ctx.Err() }
		p := New(Options{Engine: f, Behavior: task.PullAlways, Limits: quick})
		defer p.Close()
		ask := func() (cancel context.CancelFunc, done chan error) {
			ctx, cancel := context.WithCancel(context.Background())
			done = make(chan error, 1)
			go func() { _, err := p.Ensure(ctx, Request{Ref: "a:1"}); done <- err }()
			synctest.Wait()
			return cancel, done
		}
		cancel1, done1 := ask()
		cancel2, done2 := ask()
		cancel1()
		if err := <-done1; !errors.Is(err, context.Canceled) {
			t.Errorf("first: %v", err)
		}
		synctest.Wait()
		if len(ended) != 0 || len(done2) != 0 {
			t.Fatal("the second task was disturbed")
		}
		cancel2()
		if err := <-done2; !errors.Is(err, context.Canceled) {
			t.Errorf("second: %v", err)
		}
		synctest.Wait()
		if len(ended) != 1 || f.count("pull") != 1 {
			t.Fatalf("%d pulls ended of %d", len(ended), f.count("pull"))
		}
		cancel3, done3 := ask()
		if f.count("pull") != 2 {
			t.Errorf("%d pulls", f.count("pull"))
		}
		cancel3()
		if err := <-done3; !errors.Is(err, context.Canceled) {
			t.Errorf("third: %v", err)
		}
	})
}

func TestParallelPullsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		release := make(chan struct{})
		f.hooks["pull"] = func(context.Context, int) error { <-release; return nil }
		p := New(Options{Engine: f, Behavior: task.PullAlways, Limits: quick, Parallel: 3})
		defer p.Close()
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			wg.Go(func() { _, _ = p.Ensure(context.Background(), Request{Ref: name}) })
		}
		synctest.Wait()
		if f.count("pull") != 3 {
			t.Errorf("%d pulls began", f.count("pull"))
		}
		close(release)
		wg.Wait()
		if f.most != 3 || f.count("pull") != 6 {
			t.Errorf("%d at once, %d in all", f.most, f.count("pull"))
		}
	})
}

func TestCloseEndsPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hooks["pull"] = blocked
		p := New(Options{Engine: f, Behavior: task.PullAlways})
		done := make(chan error, 1)
		go func() { _, err := p.Ensure(context.Background(), Request{Ref: "a"}); done <- err }()
		synctest.Wait()
		p.Close()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func FuzzParseName(f *testing.F) {
	for _, seed := range []string{"a", "a:1", "r.example:5000/a/b:1@" + digestA, "A", "", "a@sha256:x", "../a", "localhost/a", "a:" + strings.Repeat("x", 200), digestA} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		n, err := parseName(ref, namePull)
		if err != nil {
			if !errors.Is(err, runtime.ErrInvalid) || !strings.HasPrefix(reasonOf(err), namePull) {
				t.Errorf("%q: %v", ref, err)
			}
			return
		}
		for _, pull := range []string{n.pullRef(""), n.pullRef(digestA), n.tag()} {
			again, err := parseName(pull, namePull)
			if err != nil || again.repository() != n.repository() {
				t.Errorf("%q becomes %q: %v", ref, pull, err)
			}
		}
	})
}
