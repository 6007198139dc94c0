package hostrules

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Times of a keeper.
const (
	// settle is how long a burst of changes may take before the rules are looked at:
	// programs flush and rebuild in several steps.
	settle = 100 * time.Millisecond
	// slowCheck finds what no event tells of: the kernel's older tables, settings.
	slowCheck = time.Minute
	// maxPause bounds the pause after fights with another program that keeps on
	// undoing the rules.
	maxPause = 30 * time.Second
	// peace is how long nothing was undone before pauses begin small again.
	peace = 5 * time.Minute
)

// KeeperOptions say what is kept, and how.
type KeeperOptions struct {
	Runner Runner
	// Plan makes the plan anew: bridges and uplinks come and go.
	Plan func(ctx context.Context) (Plan, error)
	// Settings and Route may be nil: they are not looked after.
	Settings KernelSettings
	Route    func(*Plan) error
	// Watch calls changed when rules may have been undone, until ctx ends. Nil: there
	// are no events.
	Watch func(ctx context.Context, changed func()) error
	Log   *zap.Logger
}

// KernelSettings are Settings as a keeper needs them.
type KernelSettings interface {
	Check(p *Plan) []Problem
	Apply(p *Plan) (changed bool, err error)
}

// Status is what a keeper knows.
type Status struct {
	Backend  string
	Checked  time.Time
	Problems []Problem // that it could not remove
	Err      error
	// Restored counts how often rules had to be put back.
	Restored int
}

// Keeper makes the host agree with a plan, and again when somebody undid it.
type Keeper struct {
	o        KeeperOptions
	status   atomic.Pointer[Status]
	restored int
}

// NewKeeper makes a keeper that has not looked at anything yet.
func NewKeeper(o KeeperOptions) *Keeper {
	k := &Keeper{o: o}
	k.status.Store(&Status{Backend: o.Runner.Name()})
	return k
}

// Status returns what the keeper knows. It never waits.
func (k *Keeper) Status() Status { return *k.status.Load() }

// Run applies the plan and keeps it until ctx ends. The rules stay: whoever stops the
// agent for good removes them.
func (k *Keeper) Run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if k.o.Watch != nil {
		watching.Go(func() {
			err := k.o.Watch(ctx, func() {
				select {
				case changed <- struct{}{}:
				default:
				}
			})
			if err != nil && ctx.Err() == nil {
				k.o.Log.Warn("changes of packet rules are seen late", zap.Duration("interval", slowCheck), zap.Error(err))
			}
		})
	}
	pause, last := settle, time.Time{}
	k.once(ctx, true)
	for {
		timer := time.NewTimer(slowCheck)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-changed:
			timer.Stop()
			if !wait(ctx, pause) {
				return nil
			}
		}
		select { // what came meanwhile is seen now
		case <-changed:
		default:
		}
		if k.once(ctx, false) {
			if time.Since(last) > peace {
				pause = settle
			}
			last = time.Now()
			pause = min(2*pause, maxPause)
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// once looks, and puts right what is wrong. It reports whether something was.
func (k *Keeper) once(ctx context.Context, first bool) bool {
	s := Status{Backend: k.o.Runner.Name()}
	changed := false
	var undone []Problem
	defer func() {
		if ctx.Err() != nil {
			return // what was interrupted tells nothing
		}
		if changed && !first {
			k.restored++
			texts := make([]string, len(undone))
			for i, p := range undone {
				texts[i] = p.Text
			}
			k.o.Log.Warn("packet rules put back", zap.String("backend", s.Backend), zap.Strings("undone", texts))
		}
		if before := k.status.Load(); s.Err != nil && (before.Err == nil || before.Err.Error() != s.Err.Error()) {
			k.o.Log.Error("packet rules not in place", zap.String("backend", s.Backend), zap.Error(s.Err))
		}
		s.Restored, s.Checked = k.restored, time.Now()
		k.status.Store(&s)
	}()
	p, err := k.o.Plan(ctx)
	if err != nil {
		s.Err = err
		return false
	}
	if undone, err = k.check(ctx, &p); err != nil || len(undone) == 0 && !first {
		s.Err = err
		return false
	}
	if changed, s.Err = k.apply(ctx, &p); s.Err == nil && changed {
		s.Problems, s.Err = k.check(ctx, &p)
	} else if !changed {
		s.Problems = undone
	}
	return changed
}

func (k *Keeper) check(ctx context.Context, p *Plan) ([]Problem, error) {
	problems, err := k.o.Runner.Check(ctx, p)
	if k.o.Settings != nil {
		problems = slices.Concat(problems, k.o.Settings.Check(p))
	}
	return problems, err
}

// apply makes the rules before the settings that open what they guard.
func (k *Keeper) apply(ctx context.Context, p *Plan) (changed bool, err error) {
	changed, err = k.o.Runner.Apply(ctx, p)
	if err != nil {
		return changed, err
	}
	if k.o.Settings != nil {
		set, setErr := k.o.Settings.Apply(p)
		changed, err = changed || set, setErr
	}
	if k.o.Route != nil {
		err = errors.Join(err, k.o.Route(p))
	}
	return changed, err
}
