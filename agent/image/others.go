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

// otherContainers removes containers that are no task's and have not run for long
// (docs/spec/02 section 5.6).
func (c *Cleaner) otherContainers(ctx context.Context) error {
	idle, err := c.opts.Engine.IdleContainers(ctx)
	if err != nil {
		return err
	}
	limit := c.opts.Now().Add(-c.opts.ContainerAge)
	slices.SortStableFunc(idle, func(a, b runtime.Container) int { return a.CreatedAt.Compare(b.CreatedAt) })
	removed := 0
	for i := range idle {
		if removed >= c.opts.PerCycleOther || ctx.Err() != nil {
			break
		}
		// What was created later cannot have ended before the limit.
		if idle[i].CreatedAt.Before(limit) && c.removeContainer(ctx, &idle[i], limit) {
			removed++
		}
	}
	return ctx.Err()
}

// removeContainer removes a container that ended before a moment, or that never ran
// and was created before it.
func (c *Cleaner) removeContainer(ctx context.Context, idle *runtime.Container, limit time.Time) bool {
	if c.owned(idle) {
		return false
	}
	seen, err := c.opts.Engine.Inspect(ctx, idle.ID)
	if err == nil {
		ended := seen.FinishedAt
		if ended.IsZero() {
			ended = seen.CreatedAt
		}
		if !ended.Before(limit) {
			return false
		}
		err = c.opts.Engine.RemoveIdle(ctx, idle.ID)
	}
	if err != nil {
		if !errors.Is(err, runtime.ErrNotFound) {
			c.opts.Log.Info("container not removed", zap.String("container", idle.Name), zap.Error(err))
		}
		return false
	}
	c.opts.Log.Info("container of no task removed", zap.String("container", idle.Name), zap.String("id", idle.ID))
	return true
}

func (c *Cleaner) owned(container *runtime.Container) bool {
	return c.opts.Tasks != nil && c.opts.Tasks.Owns(container)
}

// otherImages are the images that the agent has not used and that may be removed, the
// smallest first. Docker tells when an image was built, which may be long ago, and not
// when it was pulled: its age counts from when it was seen here first.
func (c *Cleaner) otherImages(ctx context.Context, used map[string]bool) ([]runtime.Image, error) {
	all, err := c.opts.Engine.ListImages(ctx)
	if err != nil {
		return nil, err
	}
	now := c.opts.Now()
	known := make(map[string]bool)
	for _, r := range c.opts.Accounts.Records() {
		known[r.Image.ImageID] = true
	}
	seen := make(map[string]time.Time, len(all))
	all = slices.DeleteFunc(slices.Clone(all), func(img runtime.Image) bool {
		first, ok := c.seen[img.ID]
		if !ok {
			first = now
		}
		seen[img.ID] = first
		return known[img.ID] || used[img.ID] || c.excluded(img.Tags) || now.Sub(first) < c.opts.UntrackedAge
	})
	c.seen = seen
	slices.SortStableFunc(all, func(a, b runtime.Image) int { return cmp.Compare(a.Size, b.Size) })
	return all, nil
}

// removeOther removes an image that the agent has not used, unless it was given a name a
// short time ago.
func (c *Cleaner) removeOther(ctx context.Context, img runtime.Image) bool {
	seen, err := c.opts.Engine.InspectImage(ctx, img.ID)
	if err != nil || c.opts.Now().Sub(seen.Tagged) < c.opts.UntrackedAge {
		return false
	}
	return c.remove(ctx, img.ID, img.Tags)
}
