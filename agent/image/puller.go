package image

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// defaultParallel is how many pulls move data at the same time.
const defaultParallel = 8

// Engine is the part of the container runtime that deals with images.
type Engine interface {
	InspectImage(ctx context.Context, ref string) (runtime.Image, error)
	DistributionDigest(ctx context.Context, ref string, auth *runtime.RegistryAuth) (string, error)
	// Pull tells how far it is, often and from one goroutine.
	Pull(ctx context.Context, ref string, auth *runtime.RegistryAuth, told func(runtime.PullProgress)) error
	Tag(ctx context.Context, source, target string) error
}

// Options are the puller's parts and settings. Engine is required.
type Options struct {
	Engine   Engine
	Behavior task.PullBehavior
	Logins   Logins    // how to log in to registries
	Accounts *Accounts // what was pulled before; nil starts with none
	Limits   Limits    // zero fields take the defaults
	Parallel int       // pulls that move data at a time; default 8
	// Upfront is ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT: with the behaviour once too, a
	// local image makes up for a failed pull.
	Upfront bool
	// Ended, when set, hears of every attempt to pull that ended. It must not block.
	Ended func()
	Log   *zap.Logger
	Now   func() time.Time // for tests
}

// Request names an image and what is needed to get it.
type Request struct {
	Ref                    string
	Auth                   *task.RegistryAuth
	ExecutionCredentialsID string
	Digest                 string // pins the image when it is known
}

// Result is what came of getting an image. The times are set when a pull was
// tried, even if it failed.
type Result struct {
	ImageID              string
	Digest               string
	Env                  []string // of the image's configuration
	Pulled               bool     // the registry confirmed the image, between the two times
	StartedAt, StoppedAt time.Time
}

// Puller gets images. It is safe for concurrent use.
type Puller struct {
	engine   Engine
	behavior task.PullBehavior
	logins   *logins
	accounts *Accounts
	limits   Limits
	upfront  bool
	ended    func()
	log      *zap.Logger
	now      func() time.Time

	stop      context.CancelFunc
	done      sync.WaitGroup
	queue     *queue
	transfers transfers
	claims    *claims
	digests   *flights[string]
	pulls     *flights[runtime.Image]
	inspects  *flights[runtime.Image]
	local     *cache
}

// New makes a puller. Close ends it.
func New(opts Options) *Puller {
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Parallel <= 0 {
		opts.Parallel = defaultParallel
	}
	if opts.Accounts == nil {
		opts.Accounts = NewAccounts(nil)
	}
	if opts.Ended == nil {
		opts.Ended = func() {}
	}
	base, stop := context.WithCancel(context.Background())
	p := &Puller{
		engine: opts.Engine, behavior: opts.Behavior, accounts: opts.Accounts,
		limits: opts.Limits.or(DefaultLimits()), log: opts.Log, now: opts.Now,
		upfront: opts.Upfront, ended: opts.Ended,
		stop: stop, queue: newQueue(opts.Parallel), transfers: transfers{byKey: make(map[string]*transfer)},
		claims: newClaims(), local: newCache(),
	}
	p.logins = newLogins(base, &p.done, opts.Logins, opts.Now)
	p.digests = newFlights[string](base, &p.done)
	p.pulls = newFlights[runtime.Image](base, &p.done)
	p.inspects = newFlights[runtime.Image](base, &p.done)
	return p
}

// Close cancels what is under way and waits for its end.
func (p *Puller) Close() {
	p.stop()
	p.done.Wait()
}

// Digest resolves the digest of an image's manifest (docs/spec/02 section 5.2). It
// is empty when there is none to report.
func (p *Puller) Digest(ctx context.Context, req Request) (string, error) {
	n, err := parseName(req.Ref, nameManifest)
	if err != nil {
		return "", err
	}
	if n.digest != "" {
		return n.digest, nil
	}
	if img, ok := p.suffices(ctx, n); ok {
		digest := n.digestIn(img)
		if digest == "" && len(img.Digests) > 0 {
			return "", failure(nameManifest, fmt.Sprintf("failed to find a repo digest matching '%s'", req.Ref), runtime.ErrNotFound, nil)
		}
		return digest, nil
	}
	login, err := p.logins.find(n, req)
	if err != nil {
		return "", explain(err, nameManifest, req.Ref)
	}
	digest, err := p.digests.do(ctx, n.given+" "+login.key, func(ctx context.Context) (string, error) {
		return p.resolve(ctx, n, login)
	})
	return digest, explain(err, nameManifest, req.Ref)
}

// resolve asks the registry for a digest.
func (p *Puller) resolve(ctx context.Context, n name, login login) (digest string, err error) {
	err = p.limits.ManifestRetry.try(ctx, p.limits.Manifest, "MANIFEST_PULLED", func(ctx context.Context) error {
		return login.with(ctx, func(auth *runtime.RegistryAuth) error {
			digest, err = p.engine.DistributionDigest(ctx, n.given, auth)
			return err
		})
	})
	return digest, err
}

// Ensure makes an image available locally (docs/spec/02 sections 5.1 and 5.3). It
// fails only when there is no image to run: with the behaviours default and
// prefer-cached, a failed pull falls back on the local image.
func (p *Puller) Ensure(ctx context.Context, req Request) (Result, error) {
	n, err := parseName(req.Ref, namePull)
	if err != nil {
		return Result{}, err
	}
	p.claims.want(n.local())
	defer p.claims.leave(n.local())
	if img, ok := p.suffices(ctx, n); ok {
		return result(n, req, img), nil
	}
	started := p.now()
	img, err := p.fetch(ctx, n, req)
	stopped := p.now()
	var secret *SecretError // stops the task, whatever images there are
	if err != nil && ctx.Err() == nil && !p.strict() && !errors.As(err, &secret) {
		if cached, cachedErr := p.inspect(ctx, n); cachedErr == nil {
			p.log.Warn("image not pulled, the local one is used", zap.String("image", req.Ref), zap.Error(explain(err, namePull, req.Ref)))
			r := result(n, req, cached)
			r.StartedAt, r.StoppedAt = started, stopped
			return r, nil
		}
	}
	if err != nil {
		return Result{StartedAt: started, StoppedAt: stopped}, explain(err, namePull, req.Ref)
	}
	r := result(n, req, img)
	r.Pulled, r.StartedAt, r.StoppedAt = true, started, stopped
	return r, nil
}

// strict reports whether a failed pull must not be made up for by a local image.
func (p *Puller) strict() bool {
	return p.behavior == task.PullAlways || p.behavior == task.PullOnce && !p.upfront
}

func result(n name, req Request, img runtime.Image) Result {
	r := Result{ImageID: img.ID, Digest: req.Digest, Env: img.Env}
	if r.Digest == "" {
		r.Digest = n.digest
	}
	if r.Digest == "" {
		r.Digest = n.digestIn(img)
	}
	return r
}

// Forget drops what is known of a local image. Call it when a container could not
// be created because the image was gone: the next Ensure looks again.
func (p *Puller) Forget(ref string) {
	p.local.forget(ref)
	p.accounts.Gone(ref)
}

// Changed drops what is known of all local images. Call it whenever images may
// have come or gone without the puller (see docker.Client.WatchImages).
func (p *Puller) Changed() { p.local.clear() }

// suffices returns the local image when no registry needs to be asked
// (docs/spec/02 section 5.1).
func (p *Puller) suffices(ctx context.Context, n name) (runtime.Image, bool) {
	switch p.behavior {
	case task.PullPreferCached:
	case task.PullOnce:
		if !p.accounts.Pulled(n.given) {
			return runtime.Image{}, false
		}
	default:
		return runtime.Image{}, false
	}
	if img, ok := p.local.get(n.given); ok {
		p.accounts.touch(n.given, p.now())
		return img, true
	}
	img, err := p.inspect(ctx, n)
	return img, err == nil
}

// inspect asks Docker for the local image and remembers the answer.
func (p *Puller) inspect(ctx context.Context, n name) (runtime.Image, error) {
	return p.inspects.do(ctx, n.given, func(ctx context.Context) (runtime.Image, error) {
		at := p.local.mark()
		img, err := p.engine.InspectImage(ctx, n.given)
		if err == nil {
			p.local.put(n.given, img, at)
			p.accounts.Used(n.given, img, p.now())
		}
		return img, err
	})
}
