package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Conn carries whole messages. Reading and writing may go on at once; each by one caller.
type Conn interface {
	Read() ([]byte, error)
	Write([]byte) error
	Close() error
}

// How unacknowledged messages are treated.
const (
	window      = 256 // at most so many
	resendAfter = 2 * time.Second
	resendsMost = 30
	// earlyMost bounds what came before its turn.
	earlyMost = 4096
)

// errPeer says that the other side is to blame for the end of a stream.
var errPeer = errors.New("the other side does not acknowledge what it is sent")

// Outgoing is something to send.
type Outgoing struct {
	Type    PayloadType
	Content []byte
}

// Stream is one end of a data channel: it numbers what it sends, sends again what is not
// acknowledged, acknowledges what comes and puts it in order. One goroutine, that of Run,
// owns all of it.
type Stream struct {
	conn     Conn
	sends    string // type of messages that are sent
	receives string
	// deliver is told of each message of the stream, in order, and of TypeClosed. What it
	// returns is sent; with done the stream ends.
	deliver func(Message) (reply []Outgoing, done bool)

	outgoing chan Outgoing
	finish   chan Message
	over     chan struct{}
	last     *Message // what ends the stream once everything is acknowledged
	lastAt   time.Time

	next     int64
	unacked  []sent
	expected int64
	early    map[int64]Message
}

type sent struct {
	sequence int64
	raw      []byte
	at       time.Time
	times    int
}

// NewStream makes a stream on a connection; the container's side sends output.
func NewStream(conn Conn, containerSide bool, deliver func(Message) ([]Outgoing, bool)) *Stream {
	s := &Stream{
		conn: conn, sends: TypeInput, receives: TypeOutput, deliver: deliver,
		outgoing: make(chan Outgoing), finish: make(chan Message), over: make(chan struct{}), early: make(map[int64]Message),
	}
	if containerSide {
		s.sends, s.receives = TypeOutput, TypeInput
	}
	return s
}

// Send hands something to Run; it waits while too much is unacknowledged. It reports false
// when the stream is over.
func (s *Stream) Send(kind PayloadType, content []byte) bool {
	select {
	case s.outgoing <- Outgoing{kind, content}:
		return true
	case <-s.over:
		return false
	}
}

// Finish ends the stream with a message of TypeClosed, after what was sent before it is
// acknowledged, or not after a while.
func (s *Stream) Finish(m Message) {
	select {
	case s.finish <- m:
	case <-s.over:
	}
}

// Run serves until the stream is done, the connection breaks, or ctx ends. It closes the
// connection.
func (s *Stream) Run(ctx context.Context) error {
	defer close(s.over)
	incoming, broken := make(chan []byte), make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		_ = s.conn.Close()   // it may be broken
		for range incoming { //nolint:revive // drained until the reader has ended
		}
	}()
	go func() {
		defer close(incoming)
		for {
			raw, err := s.conn.Read()
			if err != nil {
				broken <- err
				return
			}
			select {
			case incoming <- raw:
			case <-ctx.Done():
				return
			}
		}
	}()
	resend := time.NewTimer(resendAfter)
	defer resend.Stop()
	for {
		outgoing := s.outgoing
		if len(s.unacked) >= window {
			outgoing = nil
		}
		if s.last != nil && (len(s.unacked) == 0 || time.Since(s.lastAt) >= resendAfter) {
			return s.conn.Write(s.last.Encode())
		}
		var err error
		done := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err = <-broken:
		case o := <-outgoing:
			err = s.send(o)
		case m := <-s.finish:
			s.last, s.lastAt = &m, time.Now()
		case raw, ok := <-incoming:
			if ok {
				done, err = s.take(raw)
			} else {
				err = <-broken
			}
		case <-resend.C:
			err = s.again()
			resend.Reset(resendAfter)
		}
		if done || err != nil {
			return err
		}
	}
}

func (s *Stream) send(o Outgoing) error {
	m := NewMessage(s.sends, o.Type, o.Content)
	m.Sequence = s.next
	s.next++
	raw := m.Encode()
	s.unacked = append(s.unacked, sent{m.Sequence, raw, m.Created, 1})
	return s.conn.Write(raw)
}

// again sends the oldest messages once more that nobody has acknowledged for a while.
func (s *Stream) again() error {
	now := time.Now()
	for i := range s.unacked {
		u := &s.unacked[i]
		if now.Sub(u.at) < resendAfter {
			return nil
		}
		if u.times++; u.times > resendsMost {
			return errPeer
		}
		u.at = now
		if err := s.conn.Write(u.raw); err != nil {
			return err
		}
	}
	return nil
}

// take works in a message that came.
func (s *Stream) take(raw []byte) (done bool, err error) {
	m, err := Parse(raw)
	if err != nil {
		return false, err
	}
	switch m.Type {
	case TypeAcknowledge:
		var ack Acknowledge
		if err := json.Unmarshal(m.Payload, &ack); err != nil {
			return false, fmt.Errorf("read acknowledgement: %w", err)
		}
		s.acknowledged(ack.Sequence)
	case TypeClosed:
		_, done = s.deliver(m)
	case s.receives:
		return s.order(m)
	}
	return done, nil // of other types nothing is to be done
}

func (s *Stream) acknowledged(sequence int64) {
	for i := range s.unacked {
		if s.unacked[i].sequence == sequence {
			s.unacked = append(s.unacked[:i], s.unacked[i+1:]...)
			return
		}
	}
}

// order acknowledges a message of the stream and delivers what is due. What came before
// is acknowledged again, for the answer may have been lost.
func (s *Stream) order(m Message) (done bool, err error) {
	if m.Sequence > s.expected && len(s.early) >= earlyMost {
		return false, nil // not acknowledged, so it comes again
	}
	ack := NewMessage(TypeAcknowledge, 0, Encode(Acknowledge{Type: m.Type, ID: m.ID.String(), Sequence: m.Sequence, Sequential: true}))
	if err := s.conn.Write(ack.Encode()); err != nil {
		return false, err
	}
	if m.Sequence < s.expected {
		return false, nil
	}
	s.early[m.Sequence] = m
	for {
		m, ok := s.early[s.expected]
		if !ok {
			return false, nil
		}
		delete(s.early, s.expected)
		s.expected++
		reply, done := s.deliver(m)
		for _, o := range reply {
			if err := s.send(o); err != nil {
				return false, err
			}
		}
		if done {
			return true, nil
		}
	}
}
