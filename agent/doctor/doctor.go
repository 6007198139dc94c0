package doctor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// interval is the longest time between two examinations.
	interval = time.Minute
	// checkLimit bounds a check that has no limit of its own.
	checkLimit = 10 * time.Second
)

// Status is what ECS is told of a part of the instance (docs/spec/04 section 9.2).
type Status string

// The statuses.
const (
	Initializing     Status = "INITIALIZING"
	OK               Status = "OK"
	Impaired         Status = "IMPAIRED"
	InsufficientData Status = "INSUFFICIENT_DATA"
)

// Types of instance status (docs/spec/01 section 4.6).
const (
	ContainerRuntime = "ContainerRuntime"
	Agent            = "Agent"
)

// Check finds what is wrong with one part of the instance.
type Check struct {
	Name string
	// Type is the instance status that the check is part of.
	Type string
	// Run returns what is wrong. known is false where it cannot be told.
	Run func(ctx context.Context) (findings []Finding, known bool)
}

// Result is what a check found.
type Result struct {
	Name     string
	Type     string
	Status   Status
	Findings []Finding
	Checked  time.Time // zero: not yet
	Since    time.Time // of the status
}

// Report is one examination. It is never changed.
type Report struct {
	Number uint64 // grows with each; 0: none yet
	At     time.Time
	Checks []Result
}

// Status is the worst of all checks; what is not known is no harm.
func (r *Report) Status() Status { return worst(r.Checks, func(Result) bool { return true }) }

func worst(results []Result, of func(Result) bool) Status {
	status := Initializing
	for _, c := range results {
		switch {
		case !of(c):
		case c.Status == Impaired:
			return Impaired
		case c.Status == OK, c.Status == InsufficientData && status == Initializing:
			status = c.Status
		}
	}
	return status
}

// Findings are those of all checks.
func (r *Report) Findings() (all []Finding) {
	for _, c := range r.Checks {
		all = append(all, c.Findings...)
	}
	return all
}

// Options say what is examined.
type Options struct {
	Checks []Check
	// Changed, if set, hears of each report that differs in more than its time. It
	// must not block.
	Changed func(*Report)
	Log     *zap.Logger
}

// Doctor examines. Make it with New and call Run once; the rest never waits.
type Doctor struct {
	o      Options
	report atomic.Pointer[Report]
	soon   chan struct{}
}

// New makes a doctor that knows nothing yet.
func New(o Options) *Doctor {
	d := &Doctor{o: o, soon: make(chan struct{}, 1)}
	first := &Report{At: time.Now()}
	for _, c := range o.Checks {
		first.Checks = append(first.Checks, Result{Name: c.Name, Type: c.Type, Status: Initializing, Since: first.At})
	}
	d.report.Store(first)
	return d
}

// Report returns the latest examination.
func (d *Doctor) Report() *Report { return d.report.Load() }

// Trigger asks for an examination soon.
func (d *Doctor) Trigger() {
	select {
	case d.soon <- struct{}{}:
	default:
	}
}

// Run examines until ctx ends.
func (d *Doctor) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.soon:
		case <-timer.C:
		}
		d.examine(ctx)
		timer.Reset(interval)
	}
}

// examine runs every check, each beside the others.
func (d *Doctor) examine(ctx context.Context) {
	before := d.report.Load()
	next := &Report{Number: before.Number + 1, Checks: make([]Result, len(d.o.Checks))}
	var running sync.WaitGroup
	for i := range d.o.Checks {
		running.Go(func() { next.Checks[i] = run(ctx, &d.o.Checks[i], &before.Checks[i]) })
	}
	running.Wait()
	if ctx.Err() != nil {
		return // what was interrupted tells nothing
	}
	next.At = time.Now()
	changed := before.Number == 0
	for i := range next.Checks {
		if d.tell(&before.Checks[i], &next.Checks[i]) {
			changed = true
		}
	}
	d.report.Store(next)
	if changed && d.o.Changed != nil {
		d.o.Changed(next)
	}
}

func run(ctx context.Context, c *Check, before *Result) Result {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	r := Result{Name: c.Name, Type: c.Type, Status: OK}
	findings, known := c.Run(ctx)
	r.Findings, r.Checked, r.Since = findings, time.Now(), before.Since
	switch {
	case slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Impairment }):
		r.Status = Impaired
	case !known:
		r.Status = InsufficientData
	}
	if r.Status != before.Status {
		r.Since = r.Checked
	}
	return r
}

// tell logs what came and what went. Causes may change, with a number in them for
// example, without a word.
func (d *Doctor) tell(before, after *Result) (changed bool) {
	has := func(r *Result, c *Condition) bool {
		return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Condition == c })
	}
	for _, f := range after.Findings {
		if !has(before, f.Condition) {
			changed = true
			d.o.Log.Warn("health: "+f.Title, zap.String("code", f.Code), zap.String("cause", f.Cause))
		}
	}
	for _, f := range before.Findings {
		if !has(after, f.Condition) {
			changed = true
			d.o.Log.Info("health: no longer: "+f.Title, zap.String("code", f.Code))
		}
	}
	return changed || before.Status != after.Status
}

// InstanceStatus is one part of what ECS is told of the instance.
type InstanceStatus struct {
	Type             string
	Status           Status
	LastUpdated      time.Time
	LastStatusChange time.Time
}

// InstanceStatuses returns the statuses of the latest report, each type once, and the
// report's number: a report is sent once.
func (d *Doctor) InstanceStatuses() (statuses []InstanceStatus, number uint64) {
	r := d.report.Load()
	for _, c := range r.Checks {
		if slices.ContainsFunc(statuses, func(s InstanceStatus) bool { return s.Type == c.Type }) {
			continue
		}
		s := InstanceStatus{Type: c.Type, LastUpdated: r.At, LastStatusChange: c.Since}
		s.Status = worst(r.Checks, func(o Result) bool { return o.Type == c.Type })
		// The status of a type changed when the last of those checks changed that
		// have it.
		for _, o := range r.Checks {
			if o.Type == c.Type && o.Status == s.Status && o.Since.After(s.LastStatusChange) {
				s.LastStatusChange = o.Since
			}
		}
		statuses = append(statuses, s)
	}
	return statuses, r.Number
}

// Summary is one line for people: systemd's STATUS.
func (r *Report) Summary() string {
	if r.Number == 0 {
		return "starting"
	}
	findings := r.Findings()
	slices.SortStableFunc(findings, func(a, b Finding) int { return rank(a.Severity) - rank(b.Severity) })
	switch len(findings) {
	case 0:
		return "healthy"
	case 1:
		return findings[0].Title
	}
	return fmt.Sprintf("%s, and %d more", findings[0].Title, len(findings)-1)
}

func rank(s Severity) int {
	if s == Impairment {
		return 0
	}
	return 1
}
