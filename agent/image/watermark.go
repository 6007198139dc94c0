package image

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/runtime"
)

// lookAtDisk is how often the disk is looked at between pulls: containers fill it
// too, and no event tells.
const lookAtDisk = time.Minute

// Watermarks make images go when the disk that holds them fills. The zero value is
// off.
type Watermarks struct {
	High int // per cent of the disk in use above which images are removed
	Low  int // per cent at which enough are removed
	// Used tells how much of the disk is in use, from 0 to 100.
	Used func(ctx context.Context) (float64, error)
}

func (w Watermarks) on() bool { return w.High > 0 && w.Used != nil }

// diskState is what was told of the disk; only Run's goroutine uses it.
type diskState struct {
	full   bool // images were removed in vain
	failed bool // the disk cannot be looked at
}

// Kick makes the cleaner look at the disk now. It does not block.
func (c *Cleaner) Kick() {
	if !c.opts.Disk.on() {
		return
	}
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// Relieve removes images, the least recently used first and whatever their age, while
// the disk is fuller than the high mark, until it is at the low one.
func (c *Cleaner) Relieve(ctx context.Context) error {
	if !c.opts.Disk.on() {
		return nil
	}
	percent, err := c.opts.Disk.Used(ctx)
	if err != nil {
		if c.state.failed {
			return nil // told once
		}
		c.state.failed = true
		return fmt.Errorf("look at the disk of the images: %w", err)
	}
	c.state.failed = false
	if percent <= float64(c.opts.Disk.High) {
		c.state.full = false
		return nil
	}
	before := percent
	removed, percent, err := c.relieve(ctx, percent)
	if err != nil {
		return err
	}
	if removed > 0 {
		c.opts.Log.Info("images removed because the disk was full", zap.Int("images", removed),
			zap.Float64("percent_before", before), zap.Float64("percent", percent))
	}
	full := percent > float64(c.opts.Disk.High)
	if full && !c.state.full {
		c.opts.Log.Warn("disk is full and no more images can be removed", zap.Float64("percent", percent))
	}
	c.state.full = full
	return nil
}

func (c *Cleaner) relieve(ctx context.Context, percent float64) (removed int, left float64, err error) {
	used, err := c.used(ctx)
	if err != nil {
		return 0, percent, err
	}
	var others []runtime.Image
	tracked := c.candidates(used, 0)
	if c.opts.Untracked {
		if others, err = c.otherImages(ctx, used); err != nil {
			return 0, percent, err
		}
	}
	for i := 0; i < len(tracked)+len(others) && percent > float64(c.opts.Disk.Low); i++ {
		var gone bool
		if i < len(tracked) {
			gone = c.remove(ctx, tracked[i].Image.ImageID, tracked[i].Image.Names)
		} else {
			gone = c.removeOther(ctx, others[i-len(tracked)])
		}
		if !gone {
			if err := ctx.Err(); err != nil {
				return removed, percent, err
			}
			continue
		}
		removed++
		if percent, err = c.opts.Disk.Used(ctx); err != nil {
			return removed, percent, err
		}
	}
	return removed, percent, nil
}
