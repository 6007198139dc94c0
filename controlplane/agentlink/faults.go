package agentlink

import (
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"ecsagent/controlplane/wire"
)

// Faults makes a hub misbehave on purpose, so that agents can be tested against
// what goes wrong in reality (docs/spec/01 section 5.4, "chaos worth having"). The
// zero state is good behaviour. All methods may be called at any time.
type Faults struct {
	hub *Hub

	mu        sync.Mutex
	refuse    *wire.Exception
	framed    bool
	dropAcks  bool
	delayAcks time.Duration
	extra     int
}

// Refuse refuses all handshakes with the exception, in the framed body form or the
// plain one; nil accepts them again.
func (f *Faults) Refuse(exc *wire.Exception, framed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse, f.framed = exc, framed && exc != nil
}

// DropAcks makes the hub deaf for acknowledgements, and on TCS keeps it from
// sending any.
func (f *Faults) DropAcks(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropAcks = on
}

// DelayAcks lets the acknowledgements of ACS take effect only after d. What is
// still held when the connection ends is lost.
func (f *Faults) DelayAcks(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delayAcks = d
}

// Duplicate sends every payload n more times.
func (f *Faults) Duplicate(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.extra = n
}

// Drop cuts the instance's connection without a close frame; false if there is
// none. This and the following return when it is done.
func (f *Faults) Drop(instanceARN string, plane Plane) bool {
	return f.order(instanceARN, plane, func(*session) error { return &closing{text: "cut", hard: true} })
}

// CloseWith closes the instance's connection with a code and a text.
func (f *Faults) CloseWith(instanceARN string, plane Plane, code int, text string) bool {
	return f.order(instanceARN, plane, func(*session) error { return &closing{code: code, text: text, wait: true} })
}

// Silence keeps the connection open but says nothing on it any more, not even the
// answer to a close frame. A new connection is as usual.
func (f *Faults) Silence(instanceARN string, plane Plane) bool {
	return f.order(instanceARN, plane, func(s *session) error {
		s.link.silent.Store(true)
		return nil
	})
}

// SendRaw sends a text frame as it is.
func (f *Faults) SendRaw(instanceARN string, plane Plane, frame []byte) bool {
	return f.sendFrame(instanceARN, plane, websocket.TextMessage, frame)
}

// SendBinary sends a binary frame as it is.
func (f *Faults) SendBinary(instanceARN string, plane Plane, frame []byte) bool {
	return f.sendFrame(instanceARN, plane, websocket.BinaryMessage, frame)
}

// Rewind sends all payloads of the instance that are not acknowledged once more.
func (f *Faults) Rewind(instanceARN string) bool {
	return f.order(instanceARN, ACS, func(s *session) error {
		s.inst.restart(false)
		return nil
	})
}

func (f *Faults) sendFrame(instanceARN string, plane Plane, kind int, frame []byte) bool {
	return f.order(instanceARN, plane, func(s *session) error {
		if err := s.link.writeFrame(kind, frame); err != nil && !errors.Is(err, errSilenced) {
			return err
		}
		return nil
	})
}

// order runs fn on the goroutine of the instance's session and waits for it.
func (f *Faults) order(instanceARN string, plane Plane, fn func(*session) error) bool {
	inst := f.hub.known(instanceARN)
	if inst == nil {
		return false
	}
	s := inst.session(plane)
	if s == nil {
		return false
	}
	ran := make(chan struct{})
	if !s.do(func() error {
		defer close(ran)
		return fn(s)
	}) {
		return false
	}
	<-ran
	return true
}

func (f *Faults) refusal() *wire.Exception {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refuse
}

func (f *Faults) framedRefusals() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.framed
}

func (f *Faults) dropsAcks() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dropAcks
}

func (f *Faults) ackDelay() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.delayAcks
}

// copies is how often each payload is sent.
func (f *Faults) copies() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return 1 + max(0, f.extra)
}
