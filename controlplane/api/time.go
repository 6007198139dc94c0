package api

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Time is a timestamp as ECS writes it: seconds since 1970 UTC as a JSON number
// with milliseconds.
type Time struct{ time.Time }

// At makes a Time.
func At(t time.Time) Time { return Time{t} }

// MarshalJSON writes seconds with at most three decimals; the zero time is null.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(t.UnixMilli())/1000, 'f', -1, 64), nil
}

// UnmarshalJSON reads seconds.
func (t *Time) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	seconds, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(seconds) || math.Abs(seconds) > 1e11 {
		return fmt.Errorf("read time %q: want seconds since 1970 as a number", b)
	}
	*t = Time{time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()}
	return nil
}
