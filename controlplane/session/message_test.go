package session

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func TestMessageLayout(t *testing.T) {
	id := uuid.MustParse("00010203-0405-0607-0809-0a0b0c0d0e0f")
	m := Message{Type: TypeInput, Sequence: 7, Flags: 1, ID: id, PayloadType: PayloadSize, Payload: []byte(`{"cols":80,"rows":24}`), Created: time.UnixMilli(1700000000123)}
	b := m.Encode()
	if n := binary.BigEndian.Uint32(b); n != 116 {
		t.Errorf("header of %d bytes", n)
	}
	if got := string(b[4:36]); got != "input_stream_data               " {
		t.Errorf("type %q", got)
	}
	if got := binary.BigEndian.Uint32(b[36:]); got != 1 {
		t.Errorf("schema %d", got)
	}
	if got := binary.BigEndian.Uint64(b[40:]); got != 1700000000123 {
		t.Errorf("created %d", got)
	}
	if got := binary.BigEndian.Uint64(b[48:]); got != 7 {
		t.Errorf("sequence %d", got)
	}
	if !bytes.Equal(b[64:80], []byte{8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("id % x", b[64:80])
	}
	if got := binary.BigEndian.Uint32(b[112:]); got != 3 {
		t.Errorf("payload type %d", got)
	}
	if got := binary.BigEndian.Uint32(b[116:]); int(got) != len(m.Payload) || !bytes.Equal(b[120:], m.Payload) {
		t.Errorf("payload of %d bytes: %q", got, b[120:])
	}
	back, err := Parse(b)
	if err != nil || back.Type != m.Type || back.Sequence != 7 || back.Flags != 1 || back.ID != id || !back.Created.Equal(m.Created) {
		t.Errorf("read back %+v: %v", back, err)
	}
}

func TestParseRefuses(t *testing.T) {
	good := NewMessage(TypeOutput, PayloadOutput, []byte("hello"))
	for name, spoil := range map[string]func([]byte) []byte{
		"short":        func(b []byte) []byte { return b[:50] },
		"header":       func(b []byte) []byte { binary.BigEndian.PutUint32(b, 1<<31); return b },
		"small header": func(b []byte) []byte { binary.BigEndian.PutUint32(b, 3); return b },
		"length":       func(b []byte) []byte { binary.BigEndian.PutUint32(b[116:], 4); return b },
		"digest":       func(b []byte) []byte { b[len(b)-1]++; return b },
	} {
		if m, err := Parse(spoil(good.Encode())); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func FuzzParse(f *testing.F) {
	m := NewMessage(TypeOutput, PayloadOutput, []byte("hello"))
	f.Add(m.Encode())
	f.Add([]byte{0, 0, 0, 116})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(m.Encode())
		if err == nil && (again.Sequence != m.Sequence || again.ID != m.ID || !bytes.Equal(again.Payload, m.Payload)) {
			t.Errorf("%+v became %+v", m, again)
		}
	})
}

// TestMessagesComeBack: what is encoded is read as it was.
func TestMessagesComeBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := Message{
			Type: rapid.SampledFrom([]string{TypeInput, TypeOutput, TypeAcknowledge, TypeClosed}).Draw(rt, "type"), Sequence: rapid.Int64().Draw(rt, "sequence"),
			ID: uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "id")), PayloadType: PayloadType(rapid.Uint32().Draw(rt, "payload type")),
			Payload: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "payload"), Created: time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(rt, "created")),
		}
		back, err := Parse(m.Encode())
		if err != nil || back.Type != m.Type || back.Sequence != m.Sequence || back.ID != m.ID || back.PayloadType != m.PayloadType || !bytes.Equal(back.Payload, m.Payload) {
			rt.Fatalf("%+v became %+v: %v", m, back, err)
		}
	})
}
