//go:build failpoint

package failpoint

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPass(t *testing.T) {
	rules, err := parse("store.state.before=kill@2;store.sent.after=error")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	killed := 0
	p := &points{rules: rules, passed: map[string]int{}, log: log, kill: func() { killed++ }}
	for _, want := range []int{0, 1, 1} {
		if err := p.pass("store.state.before"); err != nil || killed != want {
			t.Errorf("error %v, killed %d times, want %d", err, killed, want)
		}
	}
	if p.pass("store.sent.after") == nil || p.pass("store.sent.before") != nil {
		t.Error("the wrong failpoint fails")
	}
	if text, _ := os.ReadFile(log.Name()); string(text) != "store.state.before\nstore.state.before\nstore.state.before\nstore.sent.after\nstore.sent.before\n" {
		t.Errorf("log %q", text)
	}
}
