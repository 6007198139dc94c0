package hostrules

import "context"

// Runner makes the kernel's packet rules agree with plans. Its methods are not called
// at once.
type Runner interface {
	// Name is nftables, iptables or iptables-legacy.
	Name() string
	// Check says how the kernel differs from the plan.
	Check(ctx context.Context, p *Plan) ([]Problem, error)
	// Apply removes the differences, and reports whether there were any. It leaves
	// other people's rules where they are.
	Apply(ctx context.Context, p *Plan) (changed bool, err error)
}
