package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// row is one measurement. floor is 0 where there is none.
type row struct {
	what, unit   string
	floor, agent float64
	old, goal    string
	met          bool
}

type table struct {
	title string
	rows  []row
	notes []string
}

func (t *table) add(r row)        { t.rows = append(t.rows, r) }
func (t *table) note(text string) { t.notes = append(t.notes, text) }

// print writes the table as Markdown.
func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s. Medians of rounds; floor: a plain Docker client on the same engine in the same run.\n\n", t.title)
	fmt.Fprintln(w, "| measurement | floor | this agent | over the floor | ratio | agent we replace | goal | |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	for _, r := range t.rows {
		floor, over, ratio, verdict := "", "", "", ""
		if r.floor > 0 {
			floor, over = r.number(r.floor), r.number(r.agent-r.floor)
			ratio = fmt.Sprintf("%.2fx", r.agent/r.floor)
		}
		if r.goal != "" {
			verdict = "missed"
			if r.met {
				verdict = "met"
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.what, floor, r.number(r.agent), over, ratio, r.old, r.goal, verdict)
	}
	fmt.Fprintln(w)
	for _, n := range t.notes {
		fmt.Fprintln(w, n)
	}
}

func (r row) number(v float64) string {
	switch {
	case r.unit == "":
		return fmt.Sprintf("%.0f", v)
	case v >= 1000:
		return fmt.Sprintf("%.0f %s", v, r.unit)
	default:
		return fmt.Sprintf("%.1f %s", v, r.unit)
	}
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	n := len(s)
	if n == 0 {
		return 0
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
