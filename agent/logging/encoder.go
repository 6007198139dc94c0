package logging

import (
	"fmt"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// encoderOf returns what makes encoders of a format (docs/spec/03 section 3.3).
func encoderOf(format string) (func() zapcore.Encoder, error) {
	switch format {
	case "", "logfmt":
		return func() zapcore.Encoder { return newLogfmt(false) }, nil
	case "json":
		return newJSON, nil
	default:
		return nil, fmt.Errorf("log format %q: want logfmt or json", format)
	}
}

// timeLayout is RFC 3339 in whole seconds, UTC.
const timeLayout = "2006-01-02T15:04:05Z"

// moduleKey names the source file of a record without fields.
const moduleKey = "module"

func module(c zapcore.EntryCaller) string { return filepath.Base(c.File) }

// jsonEncoder writes {"level":…,"time":…,"msg":…,fields}.
type jsonEncoder struct {
	zapcore.Encoder
	hasContext bool // fields were added with With
}

func newJSON() zapcore.Encoder {
	return &jsonEncoder{Encoder: zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		LevelKey: "level", TimeKey: "time", MessageKey: "msg",
		LineEnding:     zapcore.DefaultLineEnding,
		EncodeLevel:    func(l zapcore.Level, e zapcore.PrimitiveArrayEncoder) { e.AppendString(Word(l)) },
		EncodeTime:     func(t time.Time, e zapcore.PrimitiveArrayEncoder) { e.AppendString(t.UTC().Format(timeLayout)) },
		EncodeDuration: zapcore.StringDurationEncoder,
		EncodeCaller:   zapcore.ShortCallerEncoder,
	})}
}

// Clone implements zapcore.Encoder. zap clones an encoder only to add fields to it.
func (e *jsonEncoder) Clone() zapcore.Encoder {
	return &jsonEncoder{Encoder: e.Encoder.Clone(), hasContext: true}
}

// EncodeEntry implements zapcore.Encoder.
func (e *jsonEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	if len(fields) == 0 && !e.hasContext && entry.Caller.Defined {
		fields = []zapcore.Field{zap.String(moduleKey, module(entry.Caller))}
	}
	return e.Encoder.EncodeEntry(entry, plainErrors(fields))
}

// plainErrors makes errors their message. zap would add a second field with the
// stack that some errors carry.
func plainErrors(fields []zapcore.Field) []zapcore.Field {
	var out []zapcore.Field
	for i, f := range fields {
		err, isError := f.Interface.(error)
		if f.Type != zapcore.ErrorType || !isError {
			continue
		}
		if _, verbose := err.(fmt.Formatter); !verbose {
			continue
		}
		if out == nil {
			out = append(out, fields...)
		}
		out[i] = zap.String(f.Key, errorText(err))
	}
	if out == nil {
		return fields
	}
	return out
}

// errorText is an error's message, even of an error whose method panics, as that of
// a nil pointer may.
func errorText(err error) (text string) {
	defer func() {
		if recovered := recover(); recovered != nil {
			text = fmt.Sprintf("<error that cannot be printed: %v>", recovered)
		}
	}()
	return err.Error()
}
