package logging

import (
	"fmt"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Critical is the level above error: something the agent ends over. In zap terms it
// is DPanic, which a production logger writes without panicking.
const Critical = zapcore.DPanicLevel

// Off is the level at which nothing is written.
const Off = zapcore.InvalidLevel

// ParseLevel reads a level word (docs/spec/03 section 3.2), in any case: debug,
// info, warn, error, crit or critical, none or off.
func ParseLevel(word string) (zapcore.Level, error) {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "debug":
		return zapcore.DebugLevel, nil
	case "info":
		return zapcore.InfoLevel, nil
	case "warn":
		return zapcore.WarnLevel, nil
	case "error":
		return zapcore.ErrorLevel, nil
	case "crit", "critical":
		return Critical, nil
	case "none", "off":
		return Off, nil
	default:
		return zapcore.InfoLevel, fmt.Errorf("parse log level %q: want debug, info, warn, error, crit or none", word)
	}
}

// Word is the word for a level in records, and for the CNI plugins' variables
// (docs/spec/03 section 1.10.13).
func Word(level zapcore.Level) string {
	switch {
	case level <= zapcore.DebugLevel:
		return "debug"
	case level == zapcore.InfoLevel:
		return "info"
	case level == zapcore.WarnLevel:
		return "warn"
	case level == zapcore.ErrorLevel:
		return "error"
	case level < Off:
		return "critical"
	default:
		return "off"
	}
}

// Levels controls what is written while the logger is in use. It is safe for
// concurrent use.
type Levels struct {
	Console zap.AtomicLevel // console and event log
	File    zap.AtomicLevel
}

// Set changes both levels.
func (l *Levels) Set(console, file zapcore.Level) {
	l.Console.SetLevel(console)
	l.File.SetLevel(file)
}
