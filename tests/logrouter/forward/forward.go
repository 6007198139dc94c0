// Package forward reads messages of Fluentd's forward protocol, in the mode in which
// Docker sends them: [tag, time, record] or [tag, time, record, option] in MessagePack.
package forward

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Record is what is of interest of a message.
type Record struct{ Tag, Log string }

// most bounds texts and lists.
const most = 1 << 24

// Read reads a message; io.EOF is the end between two.
func Read(r *bufio.Reader) (Record, error) {
	if _, err := r.Peek(1); err != nil {
		return Record{}, err
	}
	v, err := value(r)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return Record{}, err
	}
	message, ok := v.([]any)
	if !ok || len(message) != 3 && len(message) != 4 {
		return Record{}, fmt.Errorf("%v is no message: want [tag, time, record]", v)
	}
	tag, _ := message[0].(string)
	record, ok := message[2].(map[string]any)
	if !ok {
		return Record{}, fmt.Errorf("record of %q is %T: want a map", tag, message[2])
	}
	log, ok := record["log"].(string)
	if !ok {
		return Record{}, fmt.Errorf("record of %q has no text under log: %v", tag, record)
	}
	return Record{Tag: tag, Log: log}, nil
}

// value reads one value: string, []any, map[string]any, uint64, bool or nil. Numbers and
// times are not told apart.
func value(r *bufio.Reader) (any, error) {
	c, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	switch {
	case c <= 0x7f || c >= 0xe0:
		return uint64(c), nil
	case c <= 0x8f:
		return mapping(r, uint64(c&0x0f))
	case c <= 0x9f:
		return list(r, uint64(c&0x0f))
	case c <= 0xbf:
		return text(r, uint64(c&0x1f))
	case c == 0xc0:
		return nil, nil
	case c == 0xc2 || c == 0xc3:
		return c == 0xc3, nil
	case c == 0xca:
		return number(r, 4)
	case c == 0xcb:
		return number(r, 8)
	case c >= 0xcc && c <= 0xd3: // unsigned and signed, of 1, 2, 4 and 8 bytes
		return number(r, 1<<((c-0xcc)%4))
	case c >= 0xd4 && c <= 0xd8: // extensions of 1, 2, 4, 8 and 16 bytes, after their type
		return text(r, 1+1<<(c-0xd4))
	}
	type read = func(*bufio.Reader, uint64) (any, error)
	extension := func(r *bufio.Reader, n uint64) (any, error) { return text(r, n+1) }
	sized := map[byte]struct {
		bytes int
		read  read
	}{
		0xc4: {1, text}, 0xc5: {2, text}, 0xc6: {4, text},
		0xc7: {1, extension}, 0xc8: {2, extension}, 0xc9: {4, extension},
		0xd9: {1, text}, 0xda: {2, text}, 0xdb: {4, text},
		0xdc: {2, list}, 0xdd: {4, list}, 0xde: {2, mapping}, 0xdf: {4, mapping},
	}
	s, ok := sized[c]
	if !ok {
		return nil, fmt.Errorf("byte %#x begins no value", c)
	}
	n, err := number(r, s.bytes)
	if err != nil {
		return nil, err
	}
	return s.read(r, n.(uint64))
}

func number(r *bufio.Reader, bytes int) (any, error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[8-bytes:]); err != nil {
		return nil, err
	}
	return binary.BigEndian.Uint64(b[:]), nil
}

func text(r *bufio.Reader, n uint64) (any, error) {
	if n > most {
		return nil, fmt.Errorf("a text of %d bytes: want at most %d", n, most)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return string(b), err
}

func list(r *bufio.Reader, n uint64) (any, error) {
	var l []any
	for range n {
		v, err := value(r)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	return l, nil
}

func mapping(r *bufio.Reader, n uint64) (any, error) {
	m := make(map[string]any)
	for range n {
		k, err := value(r)
		if err != nil {
			return nil, err
		}
		if m[fmt.Sprint(k)], err = value(r); err != nil {
			return nil, err
		}
	}
	return m, nil
}
