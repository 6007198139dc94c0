package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// grammar is the form of one kind of value (docs/spec/03 section 1.3): how it is
// read from text and from JSON, and how it is written.
type grammar[T any] struct {
	kind   string // word on the reference page
	want   string // accepted form, for findings
	trim   bool   // blanks around the text are accepted
	fatal  bool   // a malformed value makes it impossible to run
	parse  func(text string) (T, error)
	decode func(raw json.RawMessage) (T, error) // nil: no JSON form
	format func(T) string
	unset  func(T) bool      // values that mean "not set"; nil: none but the empty text
	less   func(a, b T) bool // nil: no order, so no bounds
}

// remark is a parse "error" beside which the value is good: it is used, and the
// remark becomes a finding.
type remark string

func (r remark) Error() string { return string(r) }

// problemOf splits an error of a parser into "unusable" and "to be mentioned".
func problemOf(err error) (fatal string, mention string) {
	var r remark
	switch {
	case err == nil:
		return "", ""
	case errors.As(err, &r):
		return "", string(r)
	default:
		return err.Error(), ""
	}
}

func jsonString(raw json.RawMessage) (string, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", errors.New("is not a JSON string")
	}
	return s, nil
}

func same(s string) string { return s }

var (
	text = grammar[string]{
		kind:   "text",
		parse:  func(s string) (string, error) { return s, nil },
		decode: jsonString, format: same,
		unset: func(s string) bool { return s == "" },
	}
	trimmed = func() grammar[string] {
		g := text
		g.trim = true
		g.decode = func(raw json.RawMessage) (string, error) {
			s, err := jsonString(raw)
			return strings.TrimSpace(s), err
		}
		return g
	}()
	// textOrEmpty is text for which the empty string is a value, not "not set".
	textOrEmpty = func() grammar[string] {
		g := text
		g.unset = nil
		return g
	}()
	path = func() grammar[string] {
		g := text
		g.kind = "path"
		return g
	}()
)

// address is where a server listens.
var address = grammar[string]{
	kind: "listen address", want: "HOST:PORT or :PORT", trim: true,
	parse: func(s string) (string, error) {
		_, port, err := net.SplitHostPort(s)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return "", errors.New("is not a listen address")
		}
		return s, nil
	},
	format: same,
}

// unixURL is the address of a unix socket.
var unixURL = grammar[string]{
	kind: "`unix://` address", want: "unix://PATH", trim: true,
	parse: func(s string) (string, error) {
		if !strings.HasPrefix(s, "unix://") || s == "unix://" {
			return "", errors.New("is not the address of a unix socket")
		}
		return s, nil
	},
	format: same,
}

var boolean = grammar[bool]{
	kind: "boolean", want: "true or false", trim: true,
	parse: func(s string) (bool, error) {
		v, err := strconv.ParseBool(s)
		if err != nil {
			return false, errors.New("is not a boolean")
		}
		return v, nil
	},
	decode: func(raw json.RawMessage) (bool, error) {
		switch string(raw) {
		case "true", "1":
			return true, nil
		case "false", "0":
			return false, nil
		}
		return false, errors.New("is not a JSON boolean")
	},
	format: strconv.FormatBool,
}

var duration = grammar[time.Duration]{
	kind: "duration", want: `a duration such as "90s" or "1h30m"`,
	parse: func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err == nil {
			return d, nil
		}
		if _, numErr := strconv.ParseFloat(s, 64); numErr == nil {
			return 0, fmt.Errorf("is a number without a unit; write %ss if seconds are meant", s)
		}
		return 0, errors.New("is not a duration")
	},
	decode: func(raw json.RawMessage) (time.Duration, error) {
		var n int64
		if err := json.Unmarshal(raw, &n); err != nil {
			return 0, errors.New("is not a JSON integer; durations are in nanoseconds here")
		}
		return time.Duration(n), nil
	},
	format: formatDuration,
	unset:  func(d time.Duration) bool { return d == 0 },
	less:   func(a, b time.Duration) bool { return a < b },
}

// formatDuration writes 3h rather than 3h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// integer is a decimal number from min to max.
func integer(min, max int) grammar[int] {
	check := func(n int64, err error) (int, error) {
		if err != nil {
			return 0, errors.New("is not a whole number")
		}
		if n < int64(min) || n > int64(max) {
			return 0, fmt.Errorf("is not between %d and %d", min, max)
		}
		return int(n), nil
	}
	return grammar[int]{
		kind: "integer", want: "a whole number",
		parse: func(s string) (int, error) { return check(strconv.ParseInt(s, 10, 64)) },
		decode: func(raw json.RawMessage) (int, error) {
			var n int64
			err := json.Unmarshal(raw, &n)
			return check(n, err)
		},
		format: strconv.Itoa,
		less:   func(a, b int) bool { return a < b },
	}
}

const anyInt = 1<<31 - 1

func wholeNumber() grammar[int] { return integer(-anyInt, anyInt) }

// port-sized numbers such as the reserved memory: 0 to 65535.
func uint16Number(what string) grammar[int] {
	g := integer(0, 65535)
	g.want = "a whole number of " + what + " from 0 to 65535"
	return g
}

var decimal = grammar[float64]{
	kind: "number", want: "a number above 0",
	parse: func(s string) (float64, error) {
		v, err := strconv.ParseFloat(s, 64)
		// The comparison is false for NaN too.
		if err != nil || !(v > 0 && v < 1e9) {
			return 0, errors.New("is not a number above 0")
		}
		return v, nil
	},
	format: func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) },
	less:   func(a, b float64) bool { return a < b },
}

// word is one of a few words, exact. In JSON it is the word's index.
func word(words ...string) grammar[string] {
	return grammar[string]{
		kind: "one of `" + strings.Join(words, "`, `") + "`",
		want: oneOf(words),
		parse: func(s string) (string, error) {
			for _, w := range words {
				if s == w {
					return w, nil
				}
			}
			return "", errors.New("is not a known word")
		},
		decode: func(raw json.RawMessage) (string, error) {
			var i int
			if err := json.Unmarshal(raw, &i); err != nil || i < 0 || i >= len(words) {
				return "", fmt.Errorf("is not a JSON integer from 0 to %d (%s)", len(words)-1, strings.Join(words, ", "))
			}
			return words[i], nil
		},
		format: same,
	}
}

// foldedWord is word without regard to case or blanks, with aliases (alias to word),
// and without a JSON form.
func foldedWord(aliases map[string]string, words ...string) grammar[string] {
	g := word(words...)
	exact := g.parse
	g.trim, g.decode = true, nil
	g.parse = func(s string) (string, error) {
		s = strings.ToLower(s)
		if w, ok := aliases[s]; ok {
			s = w
		}
		return exact(s)
	}
	return g
}

// logLevel is a level word: "crit" and "none" go in, "critical" and "off" come out
// (docs/spec/03 sections 3.2 and 8.5).
var logLevel = func() grammar[string] {
	g := foldedWord(map[string]string{"crit": "critical", "none": "off"},
		"debug", "info", "warn", "error", "critical", "off")
	g.kind = "one of `debug`, `info`, `warn`, `error`, `crit`, `none`"
	g.want = "debug, info, warn, error, crit or none"
	return g
}()

func oneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// isNull reports whether a JSON value says "not set".
func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null"))
}
