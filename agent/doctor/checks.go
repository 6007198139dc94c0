package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// pingLimit is how long Docker may take to answer (docs/spec/04 section 9.2).
const pingLimit = 2 * time.Second

// Docker asks whether the engine answers.
func Docker(ping func(context.Context) error) Check {
	return Check{Name: "docker", Type: ContainerRuntime, Run: func(ctx context.Context) ([]Finding, bool) {
		ctx, cancel := context.WithTimeout(ctx, pingLimit)
		defer cancel()
		if err := ping(ctx); err != nil {
			return []Finding{DockerUnreachable.Found(err.Error())}, true
		}
		return nil, true
	}}
}

// patienceWithECS is how long there may be no connection: reconnecting, and moving to
// another of ECS's servers, is everyday work.
const patienceWithECS = 3 * time.Minute

// ControlPlane hears how the connection to ECS fares.
type ControlPlane struct {
	connected func() bool
	now       func() time.Time
	state     atomic.Pointer[controlPlane]
	lastSeen  atomic.Int64 // when it was last found connected, in Unix nanoseconds
}

type controlPlane struct {
	lastError string
	inactive  bool
}

// NewControlPlane makes the check of a connection that begins now.
func NewControlPlane(connected func() bool, now func() time.Time) *ControlPlane {
	c := &ControlPlane{connected: connected, now: now}
	c.state.Store(&controlPlane{})
	c.lastSeen.Store(now().UnixNano())
	return c
}

// Dialed tells of an attempt to connect.
func (c *ControlPlane) Dialed(err error) {
	next := *c.state.Load()
	if err != nil {
		next.lastError = err.Error()
	} else {
		next.lastError = ""
		c.lastSeen.Store(c.now().UnixNano())
	}
	c.state.Store(&next)
}

// Inactive tells whether ECS knows the instance no more.
func (c *ControlPlane) Inactive(inactive bool) {
	next := *c.state.Load()
	next.inactive = inactive
	c.state.Store(&next)
}

// Check implements the check.
func (c *ControlPlane) Check() Check {
	return Check{Name: "control-plane", Type: Agent, Run: func(context.Context) ([]Finding, bool) {
		state, now := c.state.Load(), c.now()
		if state.inactive {
			return []Finding{InstanceInactive.Found("")}, true
		}
		if c.connected() {
			c.lastSeen.Store(now.UnixNano())
			return nil, true
		}
		gone := now.Sub(time.Unix(0, c.lastSeen.Load()))
		if gone < patienceWithECS {
			return nil, true
		}
		cause := fmt.Sprintf("for %s", gone.Truncate(time.Second))
		if state.lastError != "" {
			cause += ": " + state.lastError
		}
		return []Finding{ControlPlaneUnreachable.Found(cause)}, true
	}}
}

// Limits of free space. A part of a large disk is plenty, so both must be passed.
const (
	warnShare, fullShare = 0.10, 0.01
	warnBytes, fullBytes = 1 << 30, 64 << 20
)

// Usage is how full a file system is. Files are its inodes; none are counted where
// total is 0.
type Usage struct {
	Free, Total           uint64 // bytes, Free for an unprivileged user
	FreeFiles, TotalFiles uint64
}

// Disk looks at the file systems of directories. Those that are on one file system are
// told once, by usage's second result.
func Disk(directories func(context.Context) []string, usage func(directory string) (u Usage, device string, err error)) Check {
	return Check{Name: "disk", Type: Agent, Run: func(ctx context.Context) (findings []Finding, known bool) {
		seen := make(map[string]bool)
		for _, directory := range directories(ctx) {
			u, device, err := usage(directory)
			if err != nil || seen[device] {
				continue // a directory that is not there yet fills nothing
			}
			known, seen[device] = true, true
			if c, what := judge(u); c != nil {
				findings = append(findings, c.Found(fmt.Sprintf("%s: %s", directory, what)))
			}
		}
		return findings, known
	}}
}

func judge(u Usage) (*Condition, string) {
	below := func(free, total uint64, share float64, least uint64) bool {
		return total > 0 && float64(free) < share*float64(total) && free < least
	}
	space := fmt.Sprintf("%d MiB free of %d MiB", u.Free>>20, u.Total>>20)
	files := fmt.Sprintf("%d inodes free of %d", u.FreeFiles, u.TotalFiles)
	const anyCount = ^uint64(0)
	switch {
	case below(u.Free, u.Total, fullShare, fullBytes), u.Total > 0 && u.Free == 0:
		return DiskFull, space
	case below(u.FreeFiles, u.TotalFiles, fullShare, anyCount):
		return DiskFull, files
	case below(u.Free, u.Total, warnShare, warnBytes):
		return DiskNearlyFull, space
	case below(u.FreeFiles, u.TotalFiles, warnShare, anyCount):
		return DiskNearlyFull, files
	}
	return nil, ""
}

// Rules asks for the packet rules that are missing.
func Rules(missing func(context.Context) ([]string, error)) Check {
	return Check{Name: "rules", Type: Agent, Run: func(ctx context.Context) ([]Finding, bool) {
		problems, err := missing(ctx)
		if err != nil {
			return []Finding{RulesUnknown.Found(err.Error())}, false
		}
		if len(problems) == 0 {
			return nil, true
		}
		cause := problems[0]
		if more := len(problems) - 1; more > 0 {
			cause += fmt.Sprintf("; and %d more", more)
		}
		return []Finding{RulesMissing.Found(cause)}, true
	}}
}

// Networking asks for the host's service that makes the networks of tasks.
func Networking(answers func(context.Context) error) Check {
	return Check{Name: "networking", Type: Agent, Run: func(ctx context.Context) ([]Finding, bool) {
		if err := answers(ctx); err != nil {
			return []Finding{NetworkingFailing.Found(err.Error())}, true
		}
		return nil, true
	}}
}

// Limits of the clock's error. AWS refuses signatures that are five minutes off.
const (
	skewWarns  = time.Minute
	skewBreaks = 5 * time.Minute
	// freshness is how long an observation says something.
	freshness = time.Hour
)

// Clock compares this host's clock with the dates in ECS's answers.
type Clock struct {
	now  func() time.Time
	seen atomic.Pointer[skew]
}

type skew struct {
	by time.Duration // how far this clock is ahead
	at time.Time
}

// NewClock makes a clock check that saw no answer yet.
func NewClock(now func() time.Time) *Clock { return &Clock{now: now} }

// Observe reads the date of an answer to a request that was sent at a time. The
// answer's date is whole seconds, of some instant between then and now.
func (c *Clock) Observe(header http.Header, sent time.Time) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	now := c.now()
	s := &skew{at: now}
	switch {
	case sent.After(date.Add(time.Second)):
		s.by = sent.Sub(date.Add(time.Second))
	case now.Before(date):
		s.by = now.Sub(date)
	}
	c.seen.Store(s)
}

// Transport observes every answer that passes through another transport.
func (c *Clock) Transport(next http.RoundTripper) http.RoundTripper { return dated{c, next} }

type dated struct {
	clock *Clock
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (o dated) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := o.clock.now()
	response, err := o.next.RoundTrip(r)
	if err == nil {
		o.clock.Observe(response.Header, sent)
	}
	return response, err
}

// CloseIdleConnections lets an http.Client close the other transport's.
func (o dated) CloseIdleConnections() {
	if closer, ok := o.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// Check implements the check.
func (c *Clock) Check() Check {
	return Check{Name: "clock", Type: Agent, Run: func(context.Context) ([]Finding, bool) {
		s := c.seen.Load()
		if s == nil || c.now().Sub(s.at).Abs() > freshness {
			return nil, false
		}
		by, word := s.by.Truncate(time.Second), "ahead of"
		if by < 0 {
			by, word = -by, "behind"
		}
		cause := fmt.Sprintf("%s %s the clock of ECS", by, word)
		switch {
		case by >= skewBreaks:
			return []Finding{ClockWrong.Found(cause)}, true
		case by >= skewWarns:
			return []Finding{ClockSkewed.Found(cause)}, true
		}
		return nil, true
	}}
}

// Store hears how saving fares.
type Store struct{ failure atomic.Pointer[error] }

// Saved tells how an attempt to save ended, and returns that.
func (s *Store) Saved(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil:
		s.failure.Store(&err)
	case s.failure.Load() != nil:
		s.failure.Store(nil)
	}
	return err
}

// Check implements the check.
func (s *Store) Check() Check {
	return Check{Name: "store", Type: Agent, Run: func(context.Context) ([]Finding, bool) {
		if err := s.failure.Load(); err != nil {
			return []Finding{StoreFailing.Found((*err).Error())}, true
		}
		return nil, true
	}}
}
