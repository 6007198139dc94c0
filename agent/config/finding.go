package config

import (
	"fmt"
	"strings"
)

// Source is a kind of place that values come from.
type Source int

// The sources, and two more origins a value can have: none and forced.
const (
	SourceNone Source = iota
	SourceFlag
	SourceEnvironment
	SourceEnvFile
	SourceJSONFile
	SourceUserData
	SourceMetadata
	SourceDefault
	SourceForced
)

// Origin is the place a value comes from.
type Origin struct {
	Source Source
	Path   string // of the file
	Line   int    // from 1; 0: the file as a whole
	Note   string // what was done to the value, or what a default was made from
}

// String renders the origin as people look for it: "environment",
// "/etc/ecs/ecs.config:12", "default".
func (o Origin) String() string {
	var s string
	switch o.Source {
	case SourceNone:
		s = "not set"
	case SourceFlag:
		s = "command line"
	case SourceEnvironment:
		s = "environment"
	case SourceEnvFile, SourceJSONFile:
		s = o.Path
	case SourceUserData:
		s = "EC2 user data"
	case SourceMetadata:
		s = "instance metadata"
	case SourceDefault:
		s = "default"
	case SourceForced:
		s = "forced"
	}
	if o.Line > 0 {
		s = fmt.Sprintf("%s:%d", s, o.Line)
	}
	if o.Note != "" {
		s += " (" + o.Note + ")"
	}
	return s
}

// place is the origin without its note, as findings begin with it.
func (o Origin) place() string {
	o.Note = ""
	return o.String()
}

// Severity says what a finding means for the agent.
type Severity int

// The severities. A notice is about a setting that has no effect or may not mean
// what it looks like; after a warning another value is in force than the one
// written; with a fatal finding the agent cannot run.
const (
	Notice Severity = iota
	Warning
	Fatal
)

// String returns the severity as one word.
func (s Severity) String() string {
	switch s {
	case Fatal:
		return "fatal"
	case Warning:
		return "warning"
	default:
		return "notice"
	}
}

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing wrong with the configuration.
type Finding struct {
	Severity Severity
	Origin   Origin
	Name     string // variable or JSON member; empty for a line that is neither
	Value    string // what was found; redacted if secret, empty if it might be
	Problem  string
	Want     string // the accepted form, or what to do
}

// String renders the finding on one line: place: NAME: problem (want …).
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.Origin.place())
	b.WriteString(": ")
	if f.Name != "" {
		b.WriteString(f.Name)
		b.WriteString(": ")
	}
	b.WriteString(f.Problem)
	if f.Want != "" {
		b.WriteString(" (want ")
		b.WriteString(f.Want)
		b.WriteString(")")
	}
	return b.String()
}

// exitRetry is the exit code for a configuration that cannot be used: a later
// start may find it mended (docs/spec/03 sections 1.2 and 2.3).
const exitRetry = 1

// LoadError says that the agent cannot run with this configuration.
type LoadError struct {
	Findings []Finding // the fatal ones
}

// Error lists all fatal findings.
func (e *LoadError) Error() string {
	lines := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		lines[i] = f.String()
	}
	return "load configuration: " + strings.Join(lines, "; ")
}

// ExitCode is the process exit code this error calls for.
func (e *LoadError) ExitCode() int { return exitRetry }
