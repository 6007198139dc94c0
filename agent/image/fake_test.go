package image

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeEngine is a Docker engine and its registry. A hook, when set, decides the
// outcome of a call; attempt counts from 1 per method.
type fakeEngine struct {
	mu     sync.Mutex
	local  map[string]runtime.Image // by reference as it was asked
	pulled map[string]bool          // by local name
	remote map[string]string        // digest by reference
	calls  []string
	counts map[string]int
	hooks  map[string]func(ctx context.Context, attempt int) error
	tells  map[string]func(runtime.PullProgress) // of pulls under way, by what is pulled
	// pullHook, when set, is the pull.
	pullHook func(ctx context.Context, ref string) error
	logins   []string // user names, as given to the registry
	running  int      // pulls under way, and the most there ever were
	most     int
}

func newFake() *fakeEngine {
	return &fakeEngine{
		tells: map[string]func(runtime.PullProgress){},
		local: map[string]runtime.Image{}, pulled: map[string]bool{}, remote: map[string]string{}, counts: map[string]int{},
		hooks: map[string]func(context.Context, int) error{},
	}
}

func (f *fakeEngine) note(ctx context.Context, method, ref string, auth *runtime.RegistryAuth) error {
	f.mu.Lock()
	f.calls = append(f.calls, method+" "+ref)
	f.counts[method]++
	n, hook := f.counts[method], f.hooks[method]
	if auth != nil {
		f.logins = append(f.logins, auth.Username)
	}
	f.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx, n)
}

func (f *fakeEngine) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[method]
}

func (f *fakeEngine) InspectImage(ctx context.Context, ref string) (runtime.Image, error) {
	if err := f.note(ctx, "inspect", ref, nil); err != nil {
		return runtime.Image{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	img, ok := f.local[ref]
	if !ok && f.pulled[localName(ref)] {
		return runtime.Image{ID: "sha256:pulled"}, nil
	}
	if !ok {
		return img, fail(nameManifest, "No such image: "+ref, runtime.ErrNotFound)
	}
	return img, nil
}

func (f *fakeEngine) DistributionDigest(ctx context.Context, ref string, auth *runtime.RegistryAuth) (string, error) {
	if err := f.note(ctx, "digest", ref, auth); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	digest, ok := f.remote[ref]
	if !ok {
		return "", fail(nameManifest, "name unknown", runtime.ErrNotFound)
	}
	return digest, nil
}

func (f *fakeEngine) Pull(ctx context.Context, ref string, auth *runtime.RegistryAuth, told func(runtime.PullProgress)) error {
	f.mu.Lock()
	f.tells[ref] = told
	f.running++
	f.most = max(f.most, f.running)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.running--
	}()
	err := f.note(ctx, "pull", ref, auth)
	if f.pullHook != nil {
		if !strings.HasPrefix(ref, "dead.") {
			f.tell(ref)
		}
		err = f.pullHook(ctx, ref)
	}
	return f.got(ref, err)
}

func (f *fakeEngine) Tag(ctx context.Context, source, target string) error {
	return f.got(target, f.note(ctx, "tag", source+" "+target, nil))
}

// tell lets a pull under way make progress.
func (f *fakeEngine) tell(ref string) {
	f.mu.Lock()
	told := f.tells[ref]
	f.mu.Unlock()
	told(runtime.PullProgress{Layers: 2, Complete: 1, Bytes: 1500000, Total: 20000000})
}

// got notes that an image is there under a name from now on, unless err.
func (f *fakeEngine) got(ref string, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.pulled[localName(ref)] = true
	}
	return err
}

// have puts an image into the engine.
func (f *fakeEngine) have(ref, id string, digests ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.local[ref] = runtime.Image{ID: id, Digests: digests, Env: []string{"K=V"}}
}

func fail(name, message string, kind error) error {
	return &runtime.Failure{Reason: task.Error{Name: name, Message: "Error response from daemon: " + message}, Kind: kind}
}

// failing makes a hook that fails a number of times.
func failing(times int, err error) func(context.Context, int) error {
	return func(_ context.Context, attempt int) error {
		if attempt <= times {
			return err
		}
		return nil
	}
}

// blocked waits for the end of the call's context.
func blocked(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }

var quick = Limits{
	ManifestRetry: Retry{Attempts: 9, First: time.Microsecond, Max: time.Millisecond, Factor: 3},
	PullRetry:     Retry{Attempts: 5, First: time.Microsecond, Max: time.Millisecond, Factor: 2},
	TagRetry:      Retry{Attempts: 5, First: time.Microsecond, Max: time.Microsecond, Factor: 1},
}

func newPuller(t *testing.T, f *fakeEngine, change func(*Options)) *Puller {
	t.Helper()
	opts := Options{Engine: f, Limits: quick}
	if change != nil {
		change(&opts)
	}
	p := New(opts)
	t.Cleanup(p.Close)
	return p
}

func behavior(b task.PullBehavior) func(*Options) { return func(o *Options) { o.Behavior = b } }

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)
