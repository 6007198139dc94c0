package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder collects what is found while a JSON document is read. The first error
// wins; the accessors of object then return zero values.
type decoder struct {
	err      error
	warnings []string
}

// object is a JSON object together with where it stands, so that an error can name
// the member, the value and what would be right.
type object struct {
	d       *decoder
	path    string
	hidden  bool // values in here are secrets and never shown
	members map[string]any
}

// open reads raw as an object.
func (d *decoder) open(raw []byte, path string) object {
	o := object{d: d, path: path}
	v, err := parse(raw)
	if err != nil {
		d.fail(fmt.Errorf("%s: %w", orMessage(path), err))
		return o
	}
	members, ok := v.(map[string]any)
	if !ok {
		d.fail(fmt.Errorf("%s is %s: want an object", orMessage(path), describe(v, true)))
		return o
	}
	o.members = members
	return o
}

func parse(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not JSON: more data after the value")
	}
	return v, nil
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *decoder) warn(format string, args ...any) {
	d.warnings = append(d.warnings, fmt.Sprintf(format, args...))
}

// at names a member of the object.
func (o object) at(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

// reject records that the member is not what it has to be.
func (o object) reject(name string, want string) {
	o.d.fail(fmt.Errorf("%s is %s: want %s", o.at(name), describe(o.get(name), o.hidden), want))
}

// get returns the member, in whatever case it is written; nil when it is absent
// or null. The exact spelling wins, then the first in byte order.
func (o object) get(name string) any {
	if v, ok := o.members[name]; ok {
		return v
	}
	first := ""
	for n := range o.members {
		if strings.EqualFold(n, name) && (first == "" || n < first) {
			first = n
		}
	}
	return o.members[first]
}

func (o object) has(name string) bool { return o.get(name) != nil }

// text returns a string member; absent reads as "".
func (o object) text(name string) string {
	switch v := o.get(name).(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		o.reject(name, "a string")
		return ""
	}
}

// required returns a string member that must not be empty.
func (o object) required(name string) string {
	s := o.text(name)
	if s == "" {
		o.reject(name, "a non-empty string")
	}
	return s
}

func (o object) flag(name string) bool {
	switch v := o.get(name).(type) {
	case nil:
		return false
	case bool:
		return v
	default:
		o.reject(name, "true or false")
		return false
	}
}

// integer returns a whole number within the limits; absent reads as 0.
func (o object) integer(name string, low, high int64) int64 {
	v := o.get(name)
	if v == nil {
		return 0
	}
	n, ok := wholeNumber(v)
	if !ok || n < low || n > high {
		o.reject(name, fmt.Sprintf("a whole number from %d to %d", low, high))
		return 0
	}
	return n
}

func wholeNumber(v any) (int64, bool) {
	number, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	if n, err := strconv.ParseInt(number.String(), 10, 64); err == nil {
		return n, true
	}
	f, err := number.Float64() // 1.0 and 1e3 are whole numbers too
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// amount returns a number that is not negative; absent reads as 0.
func (o object) amount(name string) float64 {
	v := o.get(name)
	if v == nil {
		return 0
	}
	number, ok := v.(json.Number)
	f, err := number.Float64()
	if !ok || err != nil || f < 0 {
		o.reject(name, "a number that is not negative")
		return 0
	}
	return f
}

// texts returns a list of strings: nil when it is absent, not nil when it is empty.
func (o object) texts(name string) []string {
	list, ok := o.list(name, "a list of strings")
	if !ok {
		return nil
	}
	out := make([]string, len(list))
	for i, v := range list {
		switch v := v.(type) {
		case nil:
		case string:
			out[i] = v
		default:
			o.d.fail(fmt.Errorf("%s[%d] is %s: want a string", o.at(name), i, describe(v, o.hidden)))
		}
	}
	return out
}

// textMap returns an object whose values are strings. The values may be anything a
// user wrote and are never shown.
func (o object) textMap(name string) map[string]string {
	inner := o.inner(name)
	if inner.members == nil {
		return nil
	}
	out := make(map[string]string, len(inner.members))
	for k, v := range inner.members {
		switch v := v.(type) {
		case nil:
			out[k] = ""
		case string:
			out[k] = v
		default:
			o.d.fail(fmt.Errorf("%s[%s] is %s: want a string", o.at(name), quote(k), describe(v, true)))
		}
	}
	return out
}

// inner returns an object member; its members are nil when it is absent.
func (o object) inner(name string) object {
	child := object{d: o.d, path: o.at(name), hidden: o.hidden}
	switch v := o.get(name).(type) {
	case nil:
	case map[string]any:
		child.members = v
	default:
		o.reject(name, "an object")
	}
	return child
}

// secret is inner for an object whose values must not be shown.
func (o object) secret(name string) object {
	child := o.inner(name)
	child.hidden = true
	return child
}

// each returns the objects of a list with their index. null entries are rejected.
func (o object) each(name string) iter.Seq2[int, object] {
	return func(yield func(int, object) bool) {
		list, _ := o.list(name, "a list of objects")
		for i, v := range list {
			path := fmt.Sprintf("%s[%d]", o.at(name), i)
			members, ok := v.(map[string]any)
			if !ok {
				o.d.fail(fmt.Errorf("%s is %s: want an object", path, describe(v, o.hidden)))
				return
			}
			if !yield(i, object{d: o.d, path: path, hidden: o.hidden, members: members}) {
				return
			}
		}
	}
}

func (o object) list(name, want string) ([]any, bool) {
	switch v := o.get(name).(type) {
	case nil:
		return nil, false
	case []any:
		return v, true
	default:
		o.reject(name, want)
		return nil, false
	}
}

// describe names a value for an error text.
func describe(v any, hidden bool) string {
	switch v := v.(type) {
	case nil:
		return "absent"
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		if hidden {
			return "a number"
		}
		return clip(v.String())
	case string:
		if hidden {
			return "a string"
		}
		return quote(v)
	default:
		return fmt.Sprintf("a %T", v)
	}
}

func quote(s string) string { return strconv.Quote(clip(s)) }

// clip keeps an outside value from filling an error text.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

func orMessage(path string) string {
	if path == "" {
		return "message"
	}
	return path
}
