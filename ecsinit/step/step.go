// Package step runs what prepares a host, part by part. Each part can be asked what it
// would change, and changes nothing when it is done already.
package step

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Step is one part.
type Step struct {
	Name string
	// Optional is whether the parts after it go on when it fails.
	Optional bool
	// Plan says what Do would change, a phrase that begins with a verb for each; none:
	// nothing is to be done.
	Plan func(ctx context.Context) ([]string, error)
	Do   func(ctx context.Context) error
}

// Runner runs steps and tells what it does.
type Runner struct {
	// DryRun is whether plans are printed and nothing is changed.
	DryRun   bool
	Out, Err io.Writer
}

// Run runs steps in their order, up to the first that fails and is not optional.
func (r Runner) Run(ctx context.Context, steps ...Step) error {
	for _, s := range steps {
		if err := r.one(ctx, s); err != nil {
			if !s.Optional || ctx.Err() != nil {
				return err
			}
			fmt.Fprintf(r.Err, "%v; going on\n", err)
		}
	}
	return nil
}

// RunAll runs every step, whatever becomes of the others.
func (r Runner) RunAll(ctx context.Context, steps ...Step) error {
	var failures []error
	for _, s := range steps {
		failures = append(failures, r.one(ctx, s))
	}
	return errors.Join(failures...)
}

func (r Runner) one(ctx context.Context, s Step) error {
	plan, err := s.Plan(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	would := ""
	if r.DryRun {
		would = "would "
	}
	for _, phrase := range plan {
		fmt.Fprintf(r.Out, "%s: %s%s\n", s.Name, would, phrase)
	}
	if len(plan) == 0 || r.DryRun {
		return nil
	}
	if err := s.Do(ctx); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}
