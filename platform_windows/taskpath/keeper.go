package taskpath

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"
)

// Host is the Windows host.
type Host interface {
	State(ctx context.Context) (State, error)
	// Do makes a step, other than AwaitAddress.
	Do(ctx context.Context, step Step, adapter int) error
}

// Periods: between two looks at the host, and while an address becomes usable.
const (
	period     = 30 * time.Second
	awaitEvery = time.Second
	awaitTries = 10
)

// Keeper keeps the path.
type Keeper struct {
	Host  Host
	Agent netip.AddrPort // where the agent listens
	Log   *zap.Logger
	// Made, if set, hears from Run at each look that the path is there. It must not block.
	Made func()
}

// Can says why the path cannot be made. It changes nothing.
func (k *Keeper) Can(ctx context.Context) error {
	s, err := k.Host.State(ctx)
	if err == nil {
		_, err = Plan(s, k.Agent)
	}
	return err
}

// Ensure makes what is missing, and says what it was not able to.
func (k *Keeper) Ensure(ctx context.Context) error {
	s, err := k.Host.State(ctx)
	if err != nil {
		return fmt.Errorf("look at the path of tasks to the agent: %w", err)
	}
	steps, err := Plan(s, k.Agent)
	if err != nil {
		return err
	}
	for _, step := range steps {
		if step == AwaitAddress {
			err = k.await(ctx)
		} else {
			err = k.Host.Do(ctx, step, s.Adapter)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
	if len(steps) == 0 {
		return nil
	}
	missing, err := k.Missing(ctx)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("the host does not keep what was made: still to do: %q", missing)
	}
	if err == nil {
		k.Log.Info("path of tasks to the agent made", zap.Stringers("steps", steps))
	}
	return err
}

// Missing is what there is to do.
func (k *Keeper) Missing(ctx context.Context) (texts []string, err error) {
	s, err := k.Host.State(ctx)
	if err != nil {
		return nil, err
	}
	steps, err := Plan(s, k.Agent)
	if errors.Is(err, ErrNoAdapter) {
		return []string{err.Error()}, nil
	}
	for _, step := range steps {
		texts = append(texts, step.String())
	}
	return texts, err
}

func (k *Keeper) await(ctx context.Context) error {
	for range awaitTries {
		timer := time.NewTimer(awaitEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		if s, err := k.Host.State(ctx); err == nil && s.Address == Preferred {
			return nil
		}
	}
	return fmt.Errorf("not usable within %s", awaitTries*awaitEvery)
}

// Run keeps the path until ctx ends. It tells once of what it cannot do.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	told := ""
	for {
		if err := k.Ensure(ctx); err == nil {
			told = ""
			if k.Made != nil {
				k.Made()
			}
		} else if ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			k.Log.Warn("tasks do not reach 169.254.170.2", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
