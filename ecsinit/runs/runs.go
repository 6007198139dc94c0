// Package runs remembers how the agent's runs ended, so that the next one is started in
// time, and decides whether the host stays prepared for it (docs/spec/03 sections 2.2,
// 5.5, 5.11.4). The service manager starts and ends the runs; this is what it is not
// able to decide.
//
//	pre-start ──Delay──▶ agent ──▶ Ready ──▶ end ──▶ post-stop
//	    ▲                                               │ Final: host put back
//	    └───────────────── Again, one failure more ─────┘
package runs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// Times between two starts (docs/spec/03 section 5.5).
const (
	firstDelay = 500 * time.Millisecond
	maxDelay   = 15 * time.Second
	// healthy is how long a run must have been ready for the one after it to count as
	// the first.
	healthy = 10 * time.Minute
)

// Exit codes of the agent that ask for something (docs/spec/03 section 2.2).
const (
	exitTerminal = "5"
	exitUpdate   = "42"
)

// Record is what is known of the runs since the host was started.
type Record struct {
	// Failures counts runs that ended by themselves, one after another.
	Failures int `json:"failures,omitempty"`
	// Ended says how the last of them did.
	Ended string `json:"ended,omitempty"`
	// Ready is when the run of now was ready, on the clock that counts from the start
	// of the host; 0: it was not.
	Ready time.Duration `json:"ready,omitempty"`
	// Update is whether the last run ended so that an update is put in its place.
	Update bool `json:"update,omitempty"`
}

// Delay is how long to wait before the next start. random is from 0 up to 1.
func (r Record) Delay(random float64) time.Duration {
	if r.Failures <= 0 {
		return 0
	}
	d := maxDelay
	if doublings := r.Failures - 1; doublings < 5 {
		d = min(d, firstDelay<<doublings)
	}
	return d + time.Duration(random*float64(d)/10)
}

// Random is a number for Delay.
func Random() float64 { return rand.Float64() }

// End is how a run ended, as systemd tells ExecStopPost=.
type End struct {
	Result string // $SERVICE_RESULT; empty: nobody tells
	Code   string // $EXIT_CODE: exited, killed, dumped
	Status string // $EXIT_STATUS: a number, or a signal
	// Words are the agent's own about why; empty: it said none.
	Words string
	// Asked is whether somebody asked for the end: a stop, a restart, a shutdown.
	Asked bool
}

// Final reports whether the service manager starts no other run by itself.
func (e End) Final() bool {
	return e.Asked || e.Result == "" || e.Result == "success" || e.Terminal()
}

// Terminal reports whether the agent asked not to be started again.
func (e End) Terminal() bool { return e.Code == "exited" && e.Status == exitTerminal }

// Update reports whether the agent ended for an update to be put in its place.
func (e End) Update() bool { return e.Code == "exited" && e.Status == exitUpdate }

// String says how it ended, for people.
func (e End) String() string {
	if e.Words != "" {
		return e.how() + ": " + e.Words
	}
	return e.how()
}

func (e End) how() string {
	switch {
	case e.Result == "watchdog":
		return "it hung"
	case e.Result == "timeout":
		return "it took too long"
	case e.Code == "exited":
		return "exit code " + e.Status
	case e.Code == "killed", e.Code == "dumped":
		return "signal " + e.Status
	case e.Result == "":
		return "it was stopped"
	}
	return e.Result
}

// After is the record once a run has ended, now on the clock of Ready.
func (r Record) After(e End, now time.Duration) Record {
	if e.Update() {
		return Record{Update: true}
	}
	if e.Final() {
		return Record{}
	}
	failures := r.Failures
	if r.Ready > 0 && now-r.Ready >= healthy {
		failures = 0
	}
	return Record{Failures: failures + 1, Ended: e.String()}
}

// File is where a record is kept. It must not outlive the start of the host.
type File string

// Load reads the record. What cannot be read counts as no record: waiting is less
// important than starting; the error says so.
func (f File) Load() (r Record, err error) {
	text, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return Record{}, fmt.Errorf("read how the agent ended %q: %w", string(f), err)
	}
	return r, nil
}

// Save writes the record; an empty one is no file.
func (f File) Save(r Record) error {
	if r == (Record{}) {
		if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget how the agent ended: %w", err)
		}
		return nil
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(string(f)), 0o700); err != nil {
		return fmt.Errorf("remember how the agent ended: %w", err)
	}
	temp := string(f) + ".new"
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return fmt.Errorf("remember how the agent ended: %w", err)
	}
	if err := os.Rename(temp, string(f)); err != nil {
		return fmt.Errorf("remember how the agent ended: %w", err)
	}
	return nil
}
