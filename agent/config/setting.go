package config

import (
	"encoding/json"
	"errors"
	"strings"
)

// Setting is one row of the table.
type Setting struct {
	Name        string   // environment variable; empty: JSON only
	Aliases     []string // other spellings of the variable, lower in precedence
	JSON        string   // member of the JSON file and user data; empty: not settable there
	JSONAlias   string   // deprecated other member
	Section     string   // heading on the reference page
	Text        string   // what it is for
	Linux       string   // default on Linux, in the setting's own grammar; empty: none
	Windows     string   // default on Windows
	Computed    string   // says what a default made at start is made from
	On          platform // where it has an effect
	ReadBy      string   // program that reads it, when that is not the agent
	Bounds      *bounds
	Needs       []condition // without which it has no effect
	NoEffect    string      // why it never has an effect
	JSONDead    string      // JSON member that is known and never had an effect
	Redact      redaction
	Path        bool   // container paths of the official agent are translated
	Hidden      bool   // for tests; not on the reference page
	Passthrough bool   // read by libraries from the process environment
	Ours        bool   // an addition of this agent
	Foreign     bool   // set by others for others: known, never reported
	Under       string // setting that, when somebody set it, decides this one
	EmptyCounts bool   // set to the empty string is not the same as unset
	value       codec
	verify      func(c *Config) []complaint
}

// key identifies the setting in origins: the variable or, without one, the member.
func (s *Setting) key() string {
	if s.Name != "" {
		return s.Name
	}
	return s.JSON
}

func (s *Setting) defaultFor(goos string) string {
	if goos == "windows" {
		return s.Windows
	}
	return s.Linux
}

func (s *Setting) effectiveOn(goos string) bool {
	return s.On == everywhere || (s.On == onWindows) == (goos == "windows")
}

// show renders a text of the setting for people: secrets redacted.
func (s *Setting) show(text string) string {
	switch s.Redact {
	case redactAll:
		if text == "" {
			return ""
		}
		return redacted
	case redactUserinfo:
		return hideUserinfo(text)
	default:
		return text
	}
}

// platform is where a setting has an effect.
type platform int

const (
	everywhere platform = iota
	onLinux
	onWindows
)

type redaction int

const (
	redactNothing redaction = iota
	redactAll
	redactUserinfo // user and password of a URL
)

const redacted = "[redacted]"

// hideUserinfo takes user and password out of scheme://user:password@host.
func hideUserinfo(s string) string {
	at := strings.LastIndex(s, "@")
	if at < 0 {
		return s
	}
	start := 0
	if i := strings.Index(s, "://"); i >= 0 && i < at {
		start = i + len("://")
	}
	return s[:start] + redacted + s[at:]
}

// bounds limits a value. Min and max are in the setting's grammar; empty is no
// limit. Outside, the value becomes the nearer limit or, with toDefault, the default.
type bounds struct {
	min, max   string
	minWindows string // empty: as min
	toDefault  bool
}

func (b *bounds) minFor(goos string) string {
	if goos == "windows" && b.minWindows != "" {
		return b.minWindows
	}
	return b.min
}

func (b *bounds) describe(goos string) string {
	low, high := b.minFor(goos), b.max
	switch {
	case low != "" && high != "":
		return "from " + low + " to " + high
	case low != "":
		return "at least " + low
	default:
		return "at most " + high
	}
}

// condition is something about the rest of the configuration that a setting needs.
type condition struct {
	text  string
	holds func(*Config) bool
}

// complaint is what a setting's own check has to say about its effective value.
type complaint struct {
	severity Severity
	problem  string
	want     string
	reset    bool // fall back to the default
}

// codec is a grammar bound to a field of Config.
type codec interface {
	kind() string
	want() string
	malformedIsFatal() bool
	hasJSON() bool
	parse(text string) (any, error)
	decode(raw json.RawMessage) (any, error)
	format(v any) string
	isUnset(v any) bool
	compare(a, b any) int
	store(c *Config, v any)
	load(c *Config) any
}

type field[T any] struct {
	grammar grammar[T]
	at      func(*Config) *T
}

// as binds a grammar to a field.
func as[T any](g grammar[T], at func(*Config) *T) codec { return field[T]{g, at} }

func (f field[T]) kind() string           { return f.grammar.kind }
func (f field[T]) want() string           { return f.grammar.want }
func (f field[T]) malformedIsFatal() bool { return f.grammar.fatal }
func (f field[T]) hasJSON() bool          { return f.grammar.decode != nil }

func (f field[T]) parse(text string) (any, error) {
	if f.grammar.trim {
		text = strings.TrimSpace(text)
	}
	return f.grammar.parse(text)
}

func (f field[T]) decode(raw json.RawMessage) (any, error) {
	if f.grammar.decode == nil {
		return nil, errors.New("cannot be set here")
	}
	return f.grammar.decode(raw)
}

func (f field[T]) format(v any) string {
	t, _ := v.(T)
	return f.grammar.format(t)
}

func (f field[T]) isUnset(v any) bool {
	t, _ := v.(T)
	return f.grammar.unset != nil && f.grammar.unset(t)
}

func (f field[T]) compare(a, b any) int {
	x, _ := a.(T)
	y, _ := b.(T)
	switch {
	case f.grammar.less == nil:
		return 0
	case f.grammar.less(x, y):
		return -1
	case f.grammar.less(y, x):
		return 1
	default:
		return 0
	}
}

func (f field[T]) store(c *Config, v any) {
	t, _ := v.(T)
	*f.at(c) = t
}

func (f field[T]) load(c *Config) any { return *f.at(c) }
