package runs

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestDelay(t *testing.T) {
	for failures, want := range []time.Duration{0, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second, 15 * time.Second} {
		if got := (Record{Failures: failures}).Delay(0); got != want {
			t.Errorf("after %d failures: %v, want %v", failures, got, want)
		}
	}
	if got := (Record{Failures: 1 << 40}).Delay(0.999); got < 15*time.Second || got > 16500*time.Millisecond {
		t.Errorf("after very many: %v", got)
	}
	if got := (Record{Failures: 2}).Delay(0.5); got != 1050*time.Millisecond {
		t.Errorf("with a random part: %v", got)
	}
}

func TestEnds(t *testing.T) {
	const now = time.Hour
	for _, c := range []struct {
		name   string
		before Record
		end    End
		final  bool
		after  Record
	}{
		{"by hand", Record{Failures: 2}, End{}, true, Record{}},
		{"stopped", Record{Failures: 2, Ready: 1}, End{Result: "success", Code: "exited", Status: "0"}, true, Record{}},
		{"must not be started again", Record{}, End{Result: "exit-code", Code: "exited", Status: "5"}, true, Record{}},
		{"an update", Record{Failures: 2}, End{Result: "exit-code", Code: "exited", Status: "42"}, false, Record{Update: true}},
		{"an update while somebody restarts it", Record{}, End{Result: "exit-code", Code: "exited", Status: "42", Asked: true}, true, Record{Update: true}},
		{"failed", Record{}, End{Result: "exit-code", Code: "exited", Status: "1"}, false, Record{Failures: 1, Ended: "exit code 1"}},
		{"failed and said why", Record{}, End{Result: "exit-code", Code: "exited", Status: "1", Words: "cannot start: no disk"}, false, Record{Failures: 1, Ended: "exit code 1: cannot start: no disk"}},
		{"failed again", Record{Failures: 3, Ended: "it hung"}, End{Result: "exit-code", Code: "exited", Status: "1"}, false, Record{Failures: 4, Ended: "exit code 1"}},
		{"failed soon after it was ready", Record{Failures: 3, Ready: now - 9*time.Minute}, End{Result: "signal", Code: "killed", Status: "KILL"}, false, Record{Failures: 4, Ended: "signal KILL"}},
		{"failed long after it was ready", Record{Failures: 3, Ready: now - 10*time.Minute}, End{Result: "core-dump", Code: "dumped", Status: "ABRT"}, false, Record{Failures: 1, Ended: "signal ABRT"}},
		{"hung", Record{}, End{Result: "watchdog", Code: "dumped", Status: "ABRT"}, false, Record{Failures: 1, Ended: "it hung"}},
		{"killed by signal 5", Record{}, End{Result: "signal", Code: "killed", Status: "TRAP"}, false, Record{Failures: 1, Ended: "signal TRAP"}},
		{"did not stop in time", Record{}, End{Result: "timeout", Code: "killed", Status: "KILL", Asked: true}, true, Record{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.end.Final(); got != c.final {
				t.Errorf("final %v", got)
			}
			if got := c.before.After(c.end, now); got != c.after {
				t.Errorf("record %+v, want %+v", got, c.after)
			}
		})
	}
}

func TestFile(t *testing.T) {
	f := File(filepath.Join(t.TempDir(), "run", "runs.json"))
	for _, want := range []Record{{}, {Failures: 3, Ended: "it hung", Ready: time.Minute}, {Failures: 1}, {}} {
		if err := f.Save(want); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(); err != nil || got != want {
			t.Errorf("read %+v, %v; want %+v", got, err, want)
		}
	}
	if _, err := os.Stat(string(f)); !os.IsNotExist(err) {
		t.Errorf("an empty record is a file: %v", err)
	}
	if err := os.WriteFile(string(f), []byte(`{"failures":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Load(); err == nil || got != (Record{}) {
		t.Errorf("of half a file: %+v, %v", got, err)
	}
}
