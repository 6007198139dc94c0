package release

import (
	"cmp"
	"fmt"
	"time"
)

// What a trial may last.
const (
	// maxFailures is how many runs of an agent on trial may fail.
	maxFailures = 3
	// maxLooks is how often is looked at an agent on trial that does not pass.
	maxLooks = 10
	// steadyLooks is at how many looks in a row it must be ready, in one run, to pass.
	steadyLooks = 3
)

// Release is an agent that came as an update.
type Release struct {
	// ID is the SHA-256 of the update, in hexadecimal.
	ID      string `json:"id"`
	Version string `json:"version,omitempty"`
	// Image is its id in Docker, where the agent is a container; empty: it is a program.
	Image string `json:"image,omitempty"`
}

// String names the release for people.
func (r *Release) String() string {
	if r == nil {
		return "the packaged agent"
	}
	return fmt.Sprintf("%s (sha256 %.12s)", cmp.Or(r.Version, "of unknown version"), r.ID)
}

// Trial is the time in which a release shows that it works.
type Trial struct {
	Failures int    `json:"failures,omitempty"`
	Ended    string `json:"ended,omitempty"` // how the last of them did
	Looks    int    `json:"looks,omitempty"`
	Steady   int    `json:"steady,omitempty"` // looks in a row at which it was ready
	// Terminal is whether it ended in a way after which it is not started again.
	Terminal bool `json:"terminal,omitempty"`
}

// Refusal is why an update is not in use.
type Refusal struct {
	Release
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// State is which agent this host runs. The zero State is that of the package.
type State struct {
	Current *Release `json:"current,omitempty"` // nil: the packaged one
	// Former is what Current took the place of, while Trial is not nil.
	Former *Release `json:"former,omitempty"`
	Trial  *Trial   `json:"trial,omitempty"`
	// Refused is the latest update, if it is not in use.
	Refused *Refusal `json:"refused,omitempty"`
}

// Begin puts a release on trial. One that was on trial makes room: it is the one before it
// that is known to work.
func (s State) Begin(r Release) State {
	former := s.Current
	if s.Trial != nil {
		former = s.Former
	}
	return State{Current: &r, Former: former, Trial: &Trial{}}
}

// Failed notes that a run of the agent has failed. terminal is whether the agent asked not
// to be started again.
func (s State) Failed(ended string, terminal bool) State {
	if s.Trial == nil {
		return s
	}
	t := *s.Trial
	t.Failures, t.Ended, t.Steady, t.Terminal = t.Failures+1, ended, 0, terminal
	s.Trial = &t
	return s
}

// Looked notes whether the agent on trial was ready when it was looked at.
func (s State) Looked(ready bool) State {
	if s.Trial == nil {
		return s
	}
	t := *s.Trial
	t.Looks++
	if t.Steady++; !ready {
		t.Steady = 0
	}
	s.Trial = &t
	return s
}

// Verdict is what follows from a trial.
type Verdict uint8

// Verdicts.
const (
	Open   Verdict = iota // the trial goes on, or there is none
	Passed                // the agent works
	Lost                  // it does not; the reason says why
)

// Verdict judges the trial.
func (s State) Verdict() (Verdict, string) {
	t := s.Trial
	switch {
	case t == nil:
		return Open, ""
	case t.Steady >= steadyLooks:
		return Passed, ""
	case t.Terminal:
		return Lost, "it ended for good: " + t.Ended
	case t.Failures >= maxFailures:
		return Lost, fmt.Sprintf("it failed %d times, at last: %s", t.Failures, t.Ended)
	case t.Looks >= maxLooks && t.Failures > 0:
		return Lost, fmt.Sprintf("it did not stay ready at %d looks, and failed %d times, at last: %s", t.Looks, t.Failures, t.Ended)
	case t.Looks >= maxLooks:
		return Lost, fmt.Sprintf("it was not ready at %d looks", t.Looks)
	}
	return Open, ""
}

// Pass ends the trial well.
func (s State) Pass() State { return State{Current: s.Current} }

// Back makes the former release the current one again.
func (s State) Back(reason string, at time.Time) State {
	back := State{Current: s.Former}
	if s.Current != nil {
		back.Refused = &Refusal{Release: *s.Current, Reason: reason, At: at.UTC().Truncate(time.Second)}
	}
	return back
}

// Refuse notes an update that was not put on trial.
func (s State) Refuse(r Release, reason string, at time.Time) State {
	s.Refused = &Refusal{Release: r, Reason: reason, At: at.UTC().Truncate(time.Second)}
	return s
}

// Note is what an operator has to know about updates, in one line; empty: nothing.
func (s State) Note() string {
	switch {
	case s.Trial != nil:
		return "on trial: update " + s.Current.String()
	case s.Refused != nil:
		name := "an update"
		if s.Refused.ID != "" {
			name = "update " + s.Refused.Release.String()
		}
		return fmt.Sprintf("%s is not in use since %s: %s", name, s.Refused.At.Format(time.RFC3339), s.Refused.Reason)
	}
	return ""
}
