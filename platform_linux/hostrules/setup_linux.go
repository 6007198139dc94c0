package hostrules

import (
	"context"
	"errors"
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
	return r.Name(), append(problems, ProcSys.Check(p)...), err
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
