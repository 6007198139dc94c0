package step

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
)

// thing is a step over a switch.
func thing(name string, on *bool, fails error, optional bool) Step {
	return Step{
		Name: name, Optional: optional,
		Plan: func(context.Context) ([]string, error) {
			if *on {
				return nil, nil
			}
			return []string{"switch it on"}, nil
		},
		Do: func(context.Context) error {
			*on = fails == nil
			return fails
		},
	}
}

func TestRun(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name     string
		dry      bool
		fails    error
		optional bool
		all      bool
		second   bool // whether the second step is done
		out, err string
	}{
		{name: "both", second: true, out: "a: switch it on\nb: switch it on\n"},
		{name: "dry", dry: true, out: "a: would switch it on\nb: would switch it on\n"},
		{name: "the first fails", fails: broken, out: "a: switch it on\n", err: "a: broken"},
		{name: "an optional one fails", fails: broken, optional: true, second: true, out: "a: switch it on\nb: switch it on\n"},
		{name: "all", fails: broken, all: true, second: true, out: "a: switch it on\nb: switch it on\n", err: "a: broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var first, second bool
			var out, told bytes.Buffer
			r := Runner{DryRun: c.dry, Out: &out, Err: &told}
			run := r.Run
			if c.all {
				run = r.RunAll
			}
			steps := []Step{thing("a", &first, c.fails, c.optional), thing("b", &second, nil, false)}
			err := run(t.Context(), steps...)
			if text := ""; err != nil && err.Error() != c.err || err == nil && text != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if out.String() != c.out || second != c.second {
				t.Errorf("second step %v, printed %q", second, out.String())
			}
			if c.optional != strings.Contains(told.String(), "a: broken; going on") {
				t.Errorf("told %q", told.String())
			}
			if c.fails == nil && !c.dry {
				out.Reset()
				if err := run(t.Context(), steps...); err != nil || out.Len() > 0 {
					t.Errorf("once more: %v, %q", err, out.String())
				}
			}
		})
	}
}
