package logging

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Options say what is written where. The words are those of the configuration.
type Options struct {
	Level         string  // console and event log; empty is info
	FileLevel     string  // log file; empty is as Level
	Format        string  // "logfmt" (also when empty) or "json"
	File          string  // empty: no log file
	Rollover      string  // "size" (also when empty), "hourly" or "none"
	MaxFileSizeMB float64 // 1 MB is 1 000 000 bytes; 0 is 5
	MaxRollCount  int     // rotated files kept; 0 or less keeps all

	Console  io.Writer        // nil is stdout
	Stderr   io.Writer        // where a failing destination is reported; nil is stderr
	EventLog EventWriter      // nil: none
	Now      func() time.Time // nil is time.Now
}

// New makes the logger. The closer releases the log file; the logger may be used
// after it, the file is then left alone. The error is about words that are none of
// those documented; the logger is nil then. A destination that cannot be used is no
// error.
func New(o Options) (*zap.Logger, *Levels, func() error, error) {
	o = o.withDefaults()
	console, errConsole := ParseLevel(o.Level)
	file, errFile := ParseLevel(o.FileLevel)
	newEncoder, errFormat := encoderOf(o.Format)
	rollover, errRollover := ParseRollover(o.Rollover)
	if err := errors.Join(errConsole, errFile, errFormat, errRollover); err != nil {
		return nil, nil, nil, fmt.Errorf("make logger: %w", err)
	}
	levels := &Levels{Console: zap.NewAtomicLevelAt(console), File: zap.NewAtomicLevelAt(file)}
	cores := []zapcore.Core{
		zapcore.NewCore(newEncoder(), newSink("console", zapcore.Lock(zapcore.AddSync(o.Console)), o.Stderr), levels.Console),
	}
	closer := func() error { return nil }
	if o.File != "" {
		f := OpenFile(FileOptions{
			Path: o.File, Rollover: rollover, MaxBytes: int64(o.MaxFileSizeMB * 1e6), Keep: o.MaxRollCount, Now: o.Now,
		})
		cores = append(cores, zapcore.NewCore(newEncoder(), newSink("file "+o.File, f, o.Stderr), levels.File))
		closer = f.Close
	}
	if o.EventLog != nil {
		cores = append(cores, newEventCore(levels.Console, o.EventLog, o.Stderr))
	}
	logger := zap.New(zapcore.NewTee(cores...),
		zap.AddCaller(),
		zap.WithClock(clock{o.Now}),
		zap.ErrorOutput(zapcore.Lock(zapcore.AddSync(o.Stderr))),
	)
	return logger, levels, closer, nil
}

func (o Options) withDefaults() Options {
	if o.Level == "" {
		o.Level = "info"
	}
	if o.FileLevel == "" {
		o.FileLevel = o.Level
	}
	if o.Rollover == "" {
		o.Rollover = string(BySize)
	}
	if o.MaxFileSizeMB <= 0 {
		o.MaxFileSizeMB = 5
	}
	if o.Console == nil {
		o.Console = os.Stdout
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// clock gives zap the injected time.
type clock struct{ now func() time.Time }

func (c clock) Now() time.Time                         { return c.now() }
func (c clock) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }
