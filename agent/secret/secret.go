// Package secret holds the type for values that must never be printed.
package secret

// Redacted is what a String shows wherever it is printed, logged or encoded.
const Redacted = "[redacted]"

// String is a sensitive value. Every way of formatting or encoding it yields
// Redacted; Reveal is the only way to the value, so that a reader can find each
// use by name.
type String string

// Reveal returns the value itself.
func (s String) Reveal() string { return string(s) }

// String implements fmt.Stringer. The empty value stays empty, so that "not set"
// can be told from "set".
func (s String) String() string {
	if s == "" {
		return ""
	}
	return Redacted
}

// GoString implements fmt.GoStringer, for %#v.
func (s String) GoString() string { return s.String() }

// MarshalText implements encoding.TextMarshaler, so that JSON shows no secret.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
