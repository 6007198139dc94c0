package image

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/runtime"
)

// grace is how long an image is safe from the cleaner after a task asked for it:
// the container that needs it may not exist yet.
const grace = 10 * time.Minute

// agentImage is never removed.
const agentImage = "amazon/amazon-ecs-agent:latest"

// CleanerEngine is what the cleaner needs of the container runtime.
type CleanerEngine interface {
	ListImages(ctx context.Context) ([]runtime.Image, error)
	// UsedImages returns the ids of images that any container uses, running or not.
	UsedImages(ctx context.Context) ([]string, error)
	RemoveImage(ctx context.Context, ref string) error
}

// CleanerOptions are the cleaner's parts and settings (docs/spec/02 section 5.6);
// zero durations and counts take the defaults.
type CleanerOptions struct {
	Engine   CleanerEngine
	Accounts *Accounts
	// Forget is told of every name that was removed; Puller.Forget.
	Forget func(ref string)

	Interval   time.Duration // ECS_IMAGE_CLEANUP_INTERVAL; 30 min
	MinimumAge time.Duration // ECS_IMAGE_MINIMUM_CLEANUP_AGE; 1 h
	PerCycle   int           // ECS_NUM_IMAGES_DELETE_PER_CYCLE; 5

	Untracked    bool          // ECS_ENABLE_UNTRACKED_IMAGE_CLEANUP
	UntrackedAge time.Duration // NON_ECS_IMAGE_MINIMUM_CLEANUP_AGE; 1 h
	Exclude      []string      // ECS_EXCLUDE_UNTRACKED_IMAGE and the agent's own images

	Log *zap.Logger
	Now func() time.Time // for tests
}

// Cleaner removes images that no container uses. It holds no lock while Docker
// works: a task that asks for an image meanwhile gets it, pulled again if need be.
type Cleaner struct{ opts CleanerOptions }

// NewCleaner makes a cleaner.
func NewCleaner(opts CleanerOptions) *Cleaner {
	opts.Interval = cmp.Or(opts.Interval, 30*time.Minute)
	opts.MinimumAge = cmp.Or(opts.MinimumAge, time.Hour)
	opts.UntrackedAge = cmp.Or(opts.UntrackedAge, time.Hour)
	opts.PerCycle = cmp.Or(opts.PerCycle, 5)
	opts.Exclude = append(slices.Clone(opts.Exclude), agentImage)
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Forget == nil {
		opts.Forget = func(string) {}
	}
	return &Cleaner{opts}
}

// Run cleans up once per interval until ctx ends.
func (c *Cleaner) Run(ctx context.Context) error {
	tick := time.NewTicker(c.opts.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := c.Cycle(ctx); err != nil && ctx.Err() == nil {
				c.opts.Log.Warn("images not cleaned up", zap.Error(err))
			}
		}
	}
}

// Cycle cleans up once.
func (c *Cleaner) Cycle(ctx context.Context) error {
	used, err := c.opts.Engine.UsedImages(ctx)
	if err != nil {
		return err
	}
	c.opts.Accounts.inUse(used, c.opts.Now())
	removed := c.tracked(ctx)
	if !c.opts.Untracked || removed >= c.opts.PerCycle {
		return ctx.Err()
	}
	all, err := c.opts.Engine.ListImages(ctx)
	if err != nil {
		return err
	}
	for _, img := range c.strangers(all, used) {
		if removed >= c.opts.PerCycle || ctx.Err() != nil {
			break
		}
		if c.remove(ctx, img.ID, img.Tags) {
			removed++
		}
	}
	return ctx.Err()
}

// tracked removes images that the agent has used, the least recently used first.
func (c *Cleaner) tracked(ctx context.Context) (removed int) {
	for _, r := range c.candidates(c.opts.Accounts.Records()) {
		if removed >= c.opts.PerCycle || ctx.Err() != nil {
			break
		}
		if !c.opts.Accounts.idleSince(r.Image.ImageID, c.opts.Now().Add(-grace)) {
			continue // a task has asked for it while others were removed
		}
		if c.remove(ctx, r.Image.ImageID, r.Image.Names) {
			c.opts.Accounts.Drop(r.Image.ImageID)
			removed++
		}
	}
	return removed
}

// candidates are the records that may be removed, in the order of removal.
func (c *Cleaner) candidates(records []Record) []Record {
	now := c.opts.Now()
	records = slices.DeleteFunc(records, func(r Record) bool {
		return c.excluded(r.Image.Names) || now.Sub(r.PulledAt) < c.opts.MinimumAge || now.Sub(r.LastUsedAt) < grace
	})
	slices.SortStableFunc(records, func(a, b Record) int { return a.LastUsedAt.Compare(b.LastUsedAt) })
	return records
}

// strangers are the images that the agent has not used and that may be removed,
// the smallest first.
func (c *Cleaner) strangers(all []runtime.Image, used []string) []runtime.Image {
	now := c.opts.Now()
	known := make(map[string]bool)
	for _, r := range c.opts.Accounts.Records() {
		known[r.Image.ImageID] = true
	}
	for _, id := range used {
		known[id] = true
	}
	all = slices.DeleteFunc(slices.Clone(all), func(img runtime.Image) bool {
		return known[img.ID] || c.excluded(img.Tags) || now.Sub(img.Created) < c.opts.UntrackedAge
	})
	slices.SortStableFunc(all, func(a, b runtime.Image) int { return cmp.Compare(a.Size, b.Size) })
	return all
}

func (c *Cleaner) excluded(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(c.opts.Exclude, n) })
}

// remove removes every name of an image, or the image itself when it has none. It
// reports whether the image is gone.
func (c *Cleaner) remove(ctx context.Context, id string, names []string) bool {
	refs := names
	if len(refs) == 0 {
		refs = []string{id}
	}
	for _, ref := range refs {
		err := c.opts.Engine.RemoveImage(ctx, ref)
		if err != nil && !errors.Is(err, runtime.ErrNotFound) {
			c.opts.Log.Info("image not removed", zap.String("image", ref), zap.Error(err))
			return false
		}
		c.opts.Forget(ref)
	}
	c.opts.Log.Info("image removed", zap.String("image", id), zap.Strings("names", names))
	return true
}
