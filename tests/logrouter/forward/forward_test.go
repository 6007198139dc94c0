package forward

import (
	"bufio"
	"io"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	const (
		// What Docker sends: a time with nanoseconds, and three more members.
		docker = "\x94\xa3tag\xd7\x00\x00\x00\x00\x01\x00\x00\x00\x02\x84\xa3log\xc4\x05hello\xaccontainer_id\xd9\x02ab\xa6source\xa6stdout\xaepartial_ordina\xcd\x01\x02\xc0"
		plain  = "\x93\xa1t\x07\x81\xa3log\xa1x"
	)
	r := bufio.NewReader(strings.NewReader(docker + plain))
	for _, want := range []Record{{"tag", "hello"}, {"t", "x"}} {
		if got, err := Read(r); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	if _, err := Read(r); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	for input, want := range map[string]string{
		docker[:40]:                    "unexpected EOF",
		"\x07":                         "is no message",
		"\x93\xa1t\x07\xa1x":           "want a map",
		"\x93\xa1t\x07\x81\xa3log\x07": "no text under log",
		"\xc1":                         "begins no value",
		"\xdb\xff\xff\xff\xff":         "a text of 4294967295 bytes",
	} {
		if _, err := Read(bufio.NewReader(strings.NewReader(input))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", input, err, want)
		}
	}
}
