package logging

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

var buffers = buffer.NewPool()

// logfmtEncoder writes level=… time=… msg="…" key="text" count=3. Strings and
// errors are quoted, other values bare; lists and objects are JSON.
type logfmtEncoder struct {
	buf         *buffer.Buffer // fields so far, each with a blank before it
	prefix      string         // of keys, inside a namespace
	messageOnly bool           // msg and fields alone, for the event log
}

func newLogfmt(messageOnly bool) *logfmtEncoder {
	return &logfmtEncoder{buf: buffers.Get(), messageOnly: messageOnly}
}

// Clone implements zapcore.Encoder.
func (e *logfmtEncoder) Clone() zapcore.Encoder {
	c := &logfmtEncoder{buf: buffers.Get(), prefix: e.prefix, messageOnly: e.messageOnly}
	_, _ = c.buf.Write(e.buf.Bytes())
	return c
}

// writers recycles the encoders that one record's fields are written with.
var writers = sync.Pool{New: func() any { return new(logfmtEncoder) }}

// EncodeEntry implements zapcore.Encoder.
func (e *logfmtEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	line := buffers.Get()
	if e.messageOnly {
		line.AppendString(entry.Message)
	} else {
		line.AppendString("level=")
		line.AppendString(Word(entry.Level))
		line.AppendString(" time=")
		line.AppendTime(entry.Time.UTC(), timeLayout)
		line.AppendString(" msg=")
		appendQuoted(line, entry.Message)
	}
	_, _ = line.Write(e.buf.Bytes())
	if len(fields) == 0 && e.buf.Len() == 0 && !e.messageOnly && entry.Caller.Defined {
		line.AppendString(" " + moduleKey + "=")
		line.AppendString(module(entry.Caller))
	}
	w, _ := writers.Get().(*logfmtEncoder)
	w.buf, w.prefix = line, e.prefix
	for i := range fields {
		if err, isError := fields[i].Interface.(error); isError && fields[i].Type == zapcore.ErrorType {
			w.AddString(fields[i].Key, errorText(err))
			continue
		}
		fields[i].AddTo(w)
	}
	w.buf = nil
	writers.Put(w)
	if !e.messageOnly {
		line.AppendByte('\n')
	}
	return line, nil
}

func appendQuoted(b *buffer.Buffer, s string) {
	if simple(s) {
		b.AppendByte('"')
		b.AppendString(s)
		b.AppendByte('"')
		return
	}
	b.AppendString(strconv.Quote(s))
}

// simple reports whether s needs no escapes.
func simple(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// key begins a field. A key that would break the line's form is mended.
func (e *logfmtEncoder) key(key string) {
	e.buf.AppendByte(' ')
	e.buf.AppendString(e.prefix)
	for i := 0; i < len(key); i++ {
		c := key[i]
		if c <= ' ' || c == '=' || c == '"' || c == 0x7f {
			c = '_'
		}
		e.buf.AppendByte(c)
	}
	e.buf.AppendByte('=')
}

// AddString implements zapcore.ObjectEncoder, as do the methods below.
func (e *logfmtEncoder) AddString(key, v string) {
	e.key(key)
	appendQuoted(e.buf, v)
}

// AddByteString adds text.
func (e *logfmtEncoder) AddByteString(key string, v []byte) { e.AddString(key, string(v)) }

// AddBinary adds bytes in base64.
func (e *logfmtEncoder) AddBinary(key string, v []byte) {
	e.AddString(key, base64.StdEncoding.EncodeToString(v))
}

// AddBool adds a boolean.
func (e *logfmtEncoder) AddBool(key string, v bool) { e.key(key); e.buf.AppendBool(v) }

// AddInt64 adds an integer.
func (e *logfmtEncoder) AddInt64(key string, v int64) { e.key(key); e.buf.AppendInt(v) }

// AddUint64 adds an integer.
func (e *logfmtEncoder) AddUint64(key string, v uint64) { e.key(key); e.buf.AppendUint(v) }

// AddFloat64 adds a number.
func (e *logfmtEncoder) AddFloat64(key string, v float64) {
	e.key(key)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		e.buf.AppendString(fmt.Sprint(v))
		return
	}
	e.buf.AppendFloat(v, 64)
}

// AddFloat32 adds a number.
func (e *logfmtEncoder) AddFloat32(key string, v float32) {
	e.key(key)
	e.buf.AppendFloat(float64(v), 32)
}

// AddComplex128 adds a number.
func (e *logfmtEncoder) AddComplex128(key string, v complex128) {
	e.key(key)
	e.buf.AppendString(strconv.FormatComplex(v, 'g', -1, 128))
}

// AddComplex64 adds a number.
func (e *logfmtEncoder) AddComplex64(key string, v complex64) { e.AddComplex128(key, complex128(v)) }

// AddDuration adds a duration as Go writes it.
func (e *logfmtEncoder) AddDuration(key string, v time.Duration) {
	e.key(key)
	e.buf.AppendString(v.String())
}

// AddTime adds a time in UTC.
func (e *logfmtEncoder) AddTime(key string, v time.Time) {
	e.key(key)
	e.buf.AppendTime(v.UTC(), time.RFC3339Nano)
}

// AddInt adds an integer.
func (e *logfmtEncoder) AddInt(key string, v int) { e.AddInt64(key, int64(v)) }

// AddInt32 adds an integer.
func (e *logfmtEncoder) AddInt32(key string, v int32) { e.AddInt64(key, int64(v)) }

// AddInt16 adds an integer.
func (e *logfmtEncoder) AddInt16(key string, v int16) { e.AddInt64(key, int64(v)) }

// AddInt8 adds an integer.
func (e *logfmtEncoder) AddInt8(key string, v int8) { e.AddInt64(key, int64(v)) }

// AddUint adds an integer.
func (e *logfmtEncoder) AddUint(key string, v uint) { e.AddUint64(key, uint64(v)) }

// AddUint32 adds an integer.
func (e *logfmtEncoder) AddUint32(key string, v uint32) { e.AddUint64(key, uint64(v)) }

// AddUint16 adds an integer.
func (e *logfmtEncoder) AddUint16(key string, v uint16) { e.AddUint64(key, uint64(v)) }

// AddUint8 adds an integer.
func (e *logfmtEncoder) AddUint8(key string, v uint8) { e.AddUint64(key, uint64(v)) }

// AddUintptr adds an integer.
func (e *logfmtEncoder) AddUintptr(key string, v uintptr) { e.AddUint64(key, uint64(v)) }

// AddArray adds a list as JSON.
func (e *logfmtEncoder) AddArray(key string, v zapcore.ArrayMarshaler) error {
	m := zapcore.NewMapObjectEncoder()
	err := m.AddArray(key, v)
	return joinMarshal(err, e.AddReflected(key, m.Fields[key]))
}

// AddObject adds an object as JSON.
func (e *logfmtEncoder) AddObject(key string, v zapcore.ObjectMarshaler) error {
	m := zapcore.NewMapObjectEncoder()
	err := m.AddObject(key, v)
	return joinMarshal(err, e.AddReflected(key, m.Fields[key]))
}

func joinMarshal(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// AddReflected adds any value as JSON; text stays quoted text.
func (e *logfmtEncoder) AddReflected(key string, v any) error {
	encoded, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode log field %q: %w", key, err)
	}
	e.key(key)
	_, _ = e.buf.Write(encoded)
	return nil
}

// OpenNamespace puts key and a dot before the keys that follow.
func (e *logfmtEncoder) OpenNamespace(key string) { e.prefix += key + "." }
