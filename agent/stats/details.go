package stats

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// Names are the keys of Details, in the order in which JSON shows them.
type Names struct {
	list  []string
	index map[string]int
}

// NewNames sorts the keys, as an encoded map would be.
func NewNames(keys ...string) *Names {
	n := &Names{list: slices.Sorted(slices.Values(keys)), index: make(map[string]int, len(keys))}
	for i, key := range n.list {
		n.index[key] = i
	}
	return n
}

// Details are named numbers: the memory statistics of the kernel. They are a map
// whose keys are shared between all samples. The zero value is empty.
type Details struct {
	names  *Names
	values []uint64
}

// NewDetails has every one of the names with the value 0.
func NewDetails(names *Names) Details {
	return Details{names, make([]uint64, len(names.list))}
}

// Put sets the value of a key; false when the key is none of the names.
func (d Details) Put(key []byte, value uint64) bool {
	i, ok := d.names.index[string(key)]
	if ok {
		d.values[i] = value
	}
	return ok
}

// Get returns the value of a key, and whether there is one.
func (d Details) Get(key string) (uint64, bool) {
	if d.names == nil {
		return 0, false
	}
	i, ok := d.names.index[key]
	if !ok {
		return 0, false
	}
	return d.values[i], true
}

// IsZero reports whether there are no names; JSON then leaves the object out.
func (d Details) IsZero() bool { return len(d.values) == 0 }

// MarshalJSON implements json.Marshaler.
func (d Details) MarshalJSON() ([]byte, error) {
	out := make([]byte, 0, 32*len(d.values)+2)
	out = append(out, '{')
	for i, value := range d.values {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendQuote(out, d.names.list[i])
		out = append(out, ':')
		out = strconv.AppendUint(out, value, 10)
	}
	return append(out, '}'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Details) UnmarshalJSON(text []byte) error {
	var all map[string]uint64
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*d = NewDetails(NewNames(slices.Collect(maps.Keys(all))...))
	for key, value := range all {
		d.Put([]byte(key), value)
	}
	return nil
}
