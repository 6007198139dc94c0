package stats

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ConnectGroup are metrics of a Service Connect proxy that have the same labels
// (docs/spec/01 section 4.4).
type ConnectGroup struct {
	Dimensions []Dimension // sorted
	Type       string      // "1" of connections to the task, "2" of those from it; empty: not told
	Metrics    []ConnectMetric
}

// Dimension is a label.
type Dimension struct{ Key, Value string }

// ConnectMetric is a counter or gauge, with one value, or a histogram: the upper bounds of
// its buckets and how many values were in each.
type ConnectMetric struct {
	Name   string
	Values []float64
	Counts []int64
}

// directionLabel becomes a group's type.
const directionLabel = "Direction"

var directions = map[string]string{"ingress": "1", "egress": "2"}

// ReadConnect reads a proxy's metrics, in Prometheus' text format. Counters, gauges and
// histograms count; what has no finite value is left out.
func ReadConnect(r io.Reader) ([]ConnectGroup, error) {
	p := connectReader{kinds: make(map[string]string), groups: make(map[string]*ConnectGroup), buckets: make(map[string]*histogram)}
	lines := bufio.NewScanner(r)
	const longest = 1 << 20
	lines.Buffer(nil, longest)
	for n := 1; lines.Scan(); n++ {
		if err := p.line(strings.TrimSpace(lines.Text())); err != nil {
			return nil, fmt.Errorf("line %d of the metrics: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	return p.result(), nil
}

type connectReader struct {
	kinds   map[string]string // of metrics, by name
	groups  map[string]*ConnectGroup
	buckets map[string]*histogram
}

// histogram is one, with the labels of its group.
type histogram struct {
	name   string
	labels map[string]string
	counts map[float64]float64 // up to a bound
}

func (p *connectReader) line(text string) error {
	if comment, ok := strings.CutPrefix(text, "#"); ok {
		if words := strings.Fields(comment); len(words) == 3 && words[0] == "TYPE" {
			p.kinds[words[1]] = words[2]
		}
		return nil
	}
	if text == "" {
		return nil
	}
	name, labels, rest, err := sample(text)
	if err != nil {
		return err
	}
	words := strings.Fields(rest)
	if len(words) == 0 || len(words) > 2 { // the second would be a time
		return fmt.Errorf("%q after %s: want a number", rest, name)
	}
	value, err := strconv.ParseFloat(words[0], 64)
	if err != nil {
		return fmt.Errorf("value %q of %s: want a number", words[0], name)
	}
	switch p.kinds[name] {
	case "counter", "gauge":
		if !math.IsNaN(value) && !math.IsInf(value, 0) {
			p.add(labels, ConnectMetric{Name: name, Values: []float64{value}, Counts: []int64{1}})
		}
		return nil
	}
	if of, ok := strings.CutSuffix(name, "_bucket"); ok && p.kinds[of] == "histogram" {
		return p.bucket(of, labels, value)
	}
	return nil
}

func (p *connectReader) bucket(name string, labels map[string]string, count float64) error {
	bound, err := strconv.ParseFloat(labels["le"], 64)
	if err != nil || math.IsNaN(bound) {
		return fmt.Errorf("label le of %s_bucket is %q: want the bucket's upper bound", name, labels["le"])
	}
	delete(labels, "le")
	key := name + "\x00" + keyOf(labels)
	h := p.buckets[key]
	if h == nil {
		h = &histogram{name: name, labels: labels, counts: make(map[float64]float64)}
		p.buckets[key] = h
	}
	if !math.IsInf(bound, 0) {
		h.counts[bound] = count
	}
	return nil
}

// add puts a metric into the group of its labels.
func (p *connectReader) add(labels map[string]string, m ConnectMetric) {
	key := keyOf(labels)
	g := p.groups[key]
	if g == nil {
		g = &ConnectGroup{Type: directions[labels[directionLabel]]}
		for _, name := range slices.Sorted(maps.Keys(labels)) {
			if name != directionLabel {
				g.Dimensions = append(g.Dimensions, Dimension{name, labels[name]})
			}
		}
		p.groups[key] = g
	}
	g.Metrics = append(g.Metrics, m)
}

func (p *connectReader) result() []ConnectGroup {
	for _, key := range slices.Sorted(maps.Keys(p.buckets)) {
		h := p.buckets[key]
		m := ConnectMetric{Name: h.name}
		before := 0.0
		for _, bound := range slices.Sorted(maps.Keys(h.counts)) {
			if n := count(h.counts[bound] - before); n > 0 {
				m.Values, m.Counts = append(m.Values, bound), append(m.Counts, n)
				before = h.counts[bound]
			}
		}
		if len(m.Counts) > 0 {
			p.add(h.labels, m)
		}
	}
	var all []ConnectGroup
	for _, key := range slices.Sorted(maps.Keys(p.groups)) {
		g := p.groups[key]
		slices.SortStableFunc(g.Metrics, func(a, b ConnectMetric) int { return cmp.Compare(a.Name, b.Name) })
		all = append(all, *g)
	}
	return all
}

// count is a number of values; as many as can be told, when they are more.
func count(n float64) int64 {
	switch {
	case math.IsNaN(n) || n <= 0:
		return 0
	case n >= math.MaxInt64:
		return math.MaxInt64
	}
	return int64(n)
}

// keyOf is the same for the same labels, and for no others.
func keyOf(labels map[string]string) string {
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		key.WriteString(strconv.Quote(name) + strconv.Quote(labels[name]))
	}
	return key.String()
}

var errLabels = errors.New(`want labels such as {name="value"}`)

// sample cuts a line into name, labels and what comes after them.
func sample(text string) (name string, labels map[string]string, rest string, err error) {
	labels = make(map[string]string)
	end := strings.IndexAny(text, "{ \t")
	if end <= 0 {
		return "", nil, "", fmt.Errorf("%q: want a name and a value", text)
	}
	name, rest = text[:end], text[end:]
	if rest[0] != '{' {
		return name, labels, rest, nil
	}
	for rest = strings.TrimLeft(rest[1:], " \t"); ; {
		if after, closed := strings.CutPrefix(rest, "}"); closed {
			return name, labels, after, nil
		}
		label, after, ok := strings.Cut(rest, "=")
		label, after = strings.TrimSpace(label), strings.TrimLeft(after, " \t")
		if !ok || label == "" {
			return "", nil, "", fmt.Errorf("%s: %w", name, errLabels)
		}
		if labels[label], after, err = quoted(after); err != nil {
			return "", nil, "", fmt.Errorf("label %s of %s: %w", label, name, err)
		}
		rest = strings.TrimLeft(strings.TrimPrefix(strings.TrimLeft(after, " \t"), ","), " \t")
	}
}

// quoted cuts a label's value off, in which \\, \" and \n are written with a backslash.
func quoted(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		return "", "", errLabels
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), text[i+1:], nil
		case c == '\\' && i+1 < len(text):
			i++
			if text[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(text[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errLabels
}
