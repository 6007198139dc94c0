package logging

import (
	"fmt"
	"io"

	"go.uber.org/zap/zapcore"
)

// EventID is the id of every event (docs/spec/03 section 3.1).
const EventID = 999

// EventWriter is the Windows Event Log; *eventlog.Log of golang.org/x/sys is one.
type EventWriter interface {
	Info(id uint32, message string) error
	Warning(id uint32, message string) error
	Error(id uint32, message string) error
}

// eventCore writes the message with its fields, in logfmt, as an event.
type eventCore struct {
	zapcore.LevelEnabler
	encoder  zapcore.Encoder
	to       EventWriter
	failures *reporter
}

func newEventCore(level zapcore.LevelEnabler, to EventWriter, stderr io.Writer) zapcore.Core {
	return &eventCore{
		LevelEnabler: level, encoder: newLogfmt(true), to: to,
		failures: &reporter{name: "the event log", stderr: stderr},
	}
}

// With implements zapcore.Core.
func (c *eventCore) With(fields []zapcore.Field) zapcore.Core {
	encoder := c.encoder.Clone()
	for i := range fields {
		fields[i].AddTo(encoder)
	}
	return &eventCore{LevelEnabler: c.LevelEnabler, encoder: encoder, to: c.to, failures: c.failures}
}

// Check implements zapcore.Core.
func (c *eventCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c *eventCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	buf, err := c.encoder.EncodeEntry(entry, fields)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	defer buf.Free()
	switch {
	case entry.Level >= zapcore.ErrorLevel:
		err = c.to.Error(EventID, buf.String())
	case entry.Level == zapcore.WarnLevel:
		err = c.to.Warning(EventID, buf.String())
	default:
		err = c.to.Info(EventID, buf.String())
	}
	if err != nil {
		c.failures.report(err)
	}
	return nil
}

// Sync implements zapcore.Core.
func (c *eventCore) Sync() error { return nil }
