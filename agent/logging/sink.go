package logging

import (
	"fmt"
	"io"
	"sync"

	"go.uber.org/zap/zapcore"
)

// reporter says on stderr, once, that a destination fails.
type reporter struct {
	name   string
	stderr io.Writer
	once   sync.Once
}

func (r *reporter) report(err error) {
	r.once.Do(func() {
		// Nowhere is left to say that stderr fails too.
		_, _ = fmt.Fprintf(r.stderr, "log to %s: %v; records are lost until it works again\n", r.name, err)
	})
}

// sink writes to a destination and keeps its failures from everybody else: the
// first one is reported on stderr, the record is lost.
type sink struct {
	to       zapcore.WriteSyncer
	failures *reporter
}

func newSink(name string, to zapcore.WriteSyncer, stderr io.Writer) *sink {
	return &sink{to: to, failures: &reporter{name: name, stderr: stderr}}
}

// Write implements io.Writer; it never fails.
func (s *sink) Write(p []byte) (int, error) {
	if _, err := s.to.Write(p); err != nil {
		s.failures.report(err)
	}
	return len(p), nil
}

// Sync implements zapcore.WriteSyncer. Consoles cannot be synced on most systems,
// so an error says nothing.
func (s *sink) Sync() error {
	_ = s.to.Sync()
	return nil
}
