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

// Images that are never removed: the agent's own.
var ownImages = []string{"amazon/amazon-ecs-agent:latest", "amazon/amazon-ecs-pause:0.1.0"}

// CleanerEngine is what the cleaner needs of the container runtime.
type CleanerEngine interface {
	InspectImage(ctx context.Context, ref string) (runtime.Image, error)
	ListImages(ctx context.Context) ([]runtime.Image, error)
	// UsedImages returns the ids of images that any container uses, running or not.
	UsedImages(ctx context.Context) ([]string, error)
	RemoveImage(ctx context.Context, ref string) error

	// IdleContainers lists the containers that do not run, whoever made them.
	IdleContainers(ctx context.Context) ([]runtime.Container, error)
	Inspect(ctx context.Context, id string) (runtime.Container, error)
	// RemoveIdle removes a container unless it runs.
	RemoveIdle(ctx context.Context, id string) error
}

// CleanerOptions are the cleaner's parts and settings (docs/spec/02 section 5.6);
// zero durations and counts take the defaults. Engine, Accounts and Puller are
// required.
type CleanerOptions struct {
	Engine   CleanerEngine
	Accounts *Accounts
	Puller   *Puller // whose images are not removed while it gets them
	Tasks    Tasks   // what the tasks need; nil: only containers count

	// Idle leaves out the regular cycles: only the disk decides.
	Idle       bool
	Interval   time.Duration // ECS_IMAGE_CLEANUP_INTERVAL; 30 min
	MinimumAge time.Duration // ECS_IMAGE_MINIMUM_CLEANUP_AGE; 1 h
	PerCycle   int           // ECS_NUM_IMAGES_DELETE_PER_CYCLE; 5

	Untracked     bool          // ECS_ENABLE_UNTRACKED_IMAGE_CLEANUP
	UntrackedAge  time.Duration // NON_ECS_IMAGE_MINIMUM_CLEANUP_AGE; 1 h
	ContainerAge  time.Duration // ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION; 3 h
	PerCycleOther int           // NONECS_NUM_CONTAINERS_DELETE_PER_CYCLE; 5
	Exclude       []string      // ECS_EXCLUDE_UNTRACKED_IMAGE, the pause image

	Disk Watermarks

	Log *zap.Logger
	Now func() time.Time // for tests
}

// Tasks tells what the tasks of this agent need, those included that have stopped and
// are not cleaned up yet.
type Tasks interface {
	// Images returns the references and the ids of their images.
	Images() (refs, ids []string)
	// Owns reports whether a container is one of a task.
	Owns(c *runtime.Container) bool
}

// Cleaner removes images that nobody uses. It holds no lock while Docker works: a task
// that asks for an image meanwhile gets it, pulled again if need be.
type Cleaner struct {
	opts  CleanerOptions
	kick  chan struct{}
	state diskState
	seen  map[string]time.Time // when images of others were seen first
}

// NewCleaner makes a cleaner.
func NewCleaner(opts CleanerOptions) *Cleaner {
	opts.Interval = cmp.Or(opts.Interval, 30*time.Minute)
	opts.MinimumAge = cmp.Or(opts.MinimumAge, time.Hour)
	opts.UntrackedAge = cmp.Or(opts.UntrackedAge, time.Hour)
	opts.ContainerAge = cmp.Or(opts.ContainerAge, 3*time.Hour)
	opts.PerCycle = cmp.Or(opts.PerCycle, 5)
	opts.PerCycleOther = cmp.Or(opts.PerCycleOther, 5)
	exclude := slices.Concat(opts.Exclude, ownImages)
	for i := range exclude {
		exclude[i] = localName(exclude[i])
	}
	opts.Exclude = exclude
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Cleaner{opts: opts, kick: make(chan struct{}, 1)}
}

// Run cleans up once per interval, and whenever the disk fills, until ctx ends.
func (c *Cleaner) Run(ctx context.Context) error {
	var cycles, looks <-chan time.Time
	if !c.opts.Idle {
		tick := time.NewTicker(c.opts.Interval)
		defer tick.Stop()
		cycles = tick.C
	}
	if c.opts.Disk.on() {
		tick := time.NewTicker(lookAtDisk)
		defer tick.Stop()
		looks = tick.C
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-cycles:
			err = c.Cycle(ctx)
		case <-looks:
			err = c.Relieve(ctx)
		case <-c.kick:
			err = c.Relieve(ctx)
		}
		if err != nil && ctx.Err() == nil {
			c.opts.Log.Warn("images not cleaned up", zap.Error(err))
		}
	}
}

// Cycle cleans up once, by age and number.
func (c *Cleaner) Cycle(ctx context.Context) error {
	used, err := c.used(ctx)
	if err != nil {
		return err
	}
	removed := 0
	for _, r := range c.candidates(used, c.opts.MinimumAge) {
		if removed >= c.opts.PerCycle || ctx.Err() != nil {
			break
		}
		if c.remove(ctx, r.Image.ImageID, r.Image.Names) {
			removed++
		}
	}
	if !c.opts.Untracked || ctx.Err() != nil {
		return ctx.Err()
	}
	if err := c.otherContainers(ctx); err != nil {
		return err
	}
	if removed >= c.opts.PerCycle {
		return nil
	}
	if used, err = c.used(ctx); err != nil {
		return err
	}
	others, err := c.otherImages(ctx, used)
	if err != nil {
		return err
	}
	for _, img := range others {
		if removed >= c.opts.PerCycle || ctx.Err() != nil {
			break
		}
		if c.removeOther(ctx, img) {
			removed++
		}
	}
	return ctx.Err()
}

// used asks for the ids of the images that containers use and notes the use.
func (c *Cleaner) used(ctx context.Context) (map[string]bool, error) {
	ids, err := c.opts.Engine.UsedImages(ctx)
	if err != nil {
		return nil, err
	}
	c.opts.Accounts.inUse(ids, c.opts.Now())
	used := make(map[string]bool, len(ids))
	for _, id := range ids {
		used[id] = true
	}
	return used, nil
}

// candidates are the records of images that may be removed and were pulled an age ago
// or longer, the least recently used first.
func (c *Cleaner) candidates(used map[string]bool, age time.Duration) []Record {
	now := c.opts.Now()
	records := slices.DeleteFunc(c.opts.Accounts.Records(), func(r Record) bool {
		return used[r.Image.ImageID] || c.excluded(r.Image.Names) || now.Sub(r.PulledAt) < age
	})
	slices.SortStableFunc(records, func(a, b Record) int { return a.LastUsedAt.Compare(b.LastUsedAt) })
	return records
}

func (c *Cleaner) excluded(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(c.opts.Exclude, localName(n)) })
}

// needed reports whether a task needs an image.
func (c *Cleaner) needed(id string, local []string) bool {
	if c.opts.Tasks == nil {
		return false
	}
	refs, ids := c.opts.Tasks.Images()
	return slices.Contains(ids, id) ||
		slices.ContainsFunc(refs, func(ref string) bool { return slices.Contains(local, localName(ref)) })
}

// remove removes every name of an image, or the image itself when it has none. It
// reports whether the image is gone.
func (c *Cleaner) remove(ctx context.Context, id string, names []string) bool {
	local := make([]string, len(names))
	for i, n := range names {
		local[i] = localName(n)
	}
	removal := c.opts.Puller.claims.remove(local)
	if removal == nil {
		return false
	}
	defer removal.end()
	free := func() bool {
		// Containers come and go while others are removed, and Docker protects only an
		// image's last name.
		used, err := c.opts.Engine.UsedImages(ctx)
		return err == nil && !slices.Contains(used, id) && removal.goOn() && !c.needed(id, local)
	}
	if len(names) == 0 {
		return c.removeNameless(ctx, id, free)
	}
	moved := false
	for _, name := range names {
		switch c.removeName(ctx, id, name, free) {
		case nameKept:
			return false
		case nameMoved:
			moved = true
		}
	}
	if moved {
		return c.removeNameless(ctx, id, free)
	}
	c.opts.Accounts.Drop(id)
	c.opts.Log.Info("image removed", zap.String("image", id), zap.Strings("names", names))
	return true
}

// What became of a name that was to be removed.
type nameEnd int

const (
	nameGone  nameEnd = iota
	nameMoved         // it means another image by now
	nameKept
)

// removeName takes a name from an image that is still free.
func (c *Cleaner) removeName(ctx context.Context, id, name string, free func() bool) nameEnd {
	end := nameGone
	img, err := c.opts.Engine.InspectImage(ctx, name)
	switch {
	case err != nil:
	case img.ID != id:
		end = nameMoved
	case !free():
		return nameKept
	default:
		err = c.opts.Engine.RemoveImage(ctx, name)
	}
	if err != nil && !errors.Is(err, runtime.ErrNotFound) {
		c.opts.Log.Info("image not removed", zap.String("image", name), zap.Error(err))
		return nameKept
	}
	c.opts.Puller.local.forget(name)
	c.opts.Accounts.lost(id, name)
	return end
}

// removeNameless removes an image that has lost the names by which tasks knew it. One
// that has other names is somebody else's by now.
func (c *Cleaner) removeNameless(ctx context.Context, id string, free func() bool) bool {
	img, err := c.opts.Engine.InspectImage(ctx, id)
	switch {
	case err != nil:
	case len(img.Tags) > 0:
		c.opts.Accounts.Drop(id)
		return false
	case !free():
		return false
	default:
		err = c.opts.Engine.RemoveImage(ctx, id)
	}
	if err != nil && !errors.Is(err, runtime.ErrNotFound) {
		c.opts.Log.Info("image not removed", zap.String("image", id), zap.Error(err))
		return false
	}
	c.opts.Accounts.Drop(id)
	c.opts.Log.Info("image removed", zap.String("image", id))
	return true
}
