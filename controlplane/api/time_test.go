package api

import (
	"encoding/json"
	"testing"
	"time"
)

func TestTime(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		{"1735787045.123", "1735787045.123"}, {"1735787045", "1735787045"}, {"1735787045.5", "1735787045.5"},
		{"1.735787045123E9", "1735787045.123"}, {"1735787045.1239", "1735787045.124"}, {"null", "null"},
	} {
		var v Time
		if err := json.Unmarshal([]byte(tt.in), &v); err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if got, err := json.Marshal(v); err != nil || string(got) != tt.out {
			t.Errorf("%s: got %s, %v", tt.in, got, err)
		}
	}
	for _, in := range []string{`"2026-01-01"`, "1e300", "-1e12", "true", "{}"} {
		var v Time
		if err := json.Unmarshal([]byte(in), &v); err == nil {
			t.Errorf("%s is read as %v", in, v)
		}
	}
	if b, err := json.Marshal(Task{CreatedAt: At(time.UnixMilli(1500))}); err != nil || json.Valid(b) == false {
		t.Fatal(err)
	}
}
