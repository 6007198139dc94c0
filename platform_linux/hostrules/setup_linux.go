package hostrules

import (
	"context"
	"errors"
	"os"
)

// Setup is everything that a plan asks of this host, together.
type Setup struct {
	Means   Means
	Backend Backend
}

// Check says how this host differs from a plan, and by which backend.
func (s Setup) Check(ctx context.Context, p *Plan) (backend string, problems []Problem, err error) {
	r, err := s.Means.Runner(ctx, s.Backend)
	if err != nil {
		return "", nil, err
	}
	problems, err = r.Check(ctx, p)
	problems = append(problems, ProcSys.Check(p)...)
	if p.Route != "" && !s.routed(p) {
		problems = append(problems, Problem{"route", "missing: route " + taskAddress.String() + " over " + p.Route})
	}
	return r.Name(), problems, err
}

// routed reports whether the plan's route is there. That of another network namespace
// cannot be read, and is made whether it is there or not.
func (s Setup) routed(p *Plan) bool {
	if s.Means.NetNS != 0 {
		return false
	}
	text, err := os.ReadFile("/proc/net/route")
	return err == nil && taskRoute(string(text), p.Route)
}

// Apply makes this host agree with a plan: guards first, then what they guard.
func (s Setup) Apply(ctx context.Context, p *Plan) (backend string, changed bool, err error) {
	r, err := s.Means.Runner(ctx, s.Backend)
	if err != nil {
		return "", false, err
	}
	changed, err = r.Apply(ctx, p)
	if err != nil {
		return r.Name(), changed, err
	}
	set, err := ProcSys.Apply(p)
	return r.Name(), changed || set, errors.Join(err, Routes{NetNS: s.Means.NetNS}.Apply(p))
}

// Left says what Remove would take away, by any backend.
func (s Setup) Left(ctx context.Context, p *Plan) ([]Problem, error) {
	gone := p.WithoutAll()
	problems := ProcSys.Left(p)
	if p.Route != "" && s.routed(p) {
		problems = append(problems, Problem{"route", "left over: route " + taskAddress.String() + " over " + p.Route})
	}
	err := s.Means.each(ctx, func(r Runner) error {
		found, err := r.Check(ctx, &gone)
		for i := range found {
			found[i].Text += " (" + r.Name() + ")"
		}
		problems = append(problems, found...)
		return err
	})
	return problems, err
}

// Remove takes away everything of a plan, whichever backend made it. Each part is
// tried whatever becomes of the others (docs/spec/03 section 8.18).
func (s Setup) Remove(ctx context.Context, p *Plan) error {
	return errors.Join(ProcSys.Undo(p), Routes{NetNS: s.Means.NetNS}.Undo(p), s.Means.Remove(ctx, *p))
}

// Keeper makes a keeper of this host.
func (s Setup) Keeper(ctx context.Context, o KeeperOptions) (*Keeper, error) {
	r, err := s.Means.Runner(ctx, s.Backend)
	if err != nil {
		return nil, err
	}
	o.Runner, o.Settings, o.Route = r, ProcSys, Routes{NetNS: s.Means.NetNS}.Apply
	o.Watch = func(ctx context.Context, changed func()) error { return Watch(ctx, s.Means.NetNS, changed) }
	return NewKeeper(o), nil
}
