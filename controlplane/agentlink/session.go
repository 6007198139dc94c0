package agentlink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"ecsagent/controlplane/wire"
)

// Limits on what an agent may send in one frame. A metrics message is at most
// about 1 MiB of JSON (docs/spec/01 section 4.4).
const (
	acsReadLimit = 1 << 20
	tcsReadLimit = 4 << 20
)

// expiredText is the close text of a connection that has reached its age.
const expiredText = "ConnectionExpired: Reconnect to continue"

// closing is why the service ends a session, and how.
type closing struct {
	code      int
	text      string
	exception *wire.Exception // sent before the close frame
	wait      bool            // for the agent's close frame
	hard      bool            // no close frame at all
}

// Error implements error.
func (c *closing) Error() string {
	return fmt.Sprintf("closed by the service with %d: %s", c.code, c.text)
}

// session is one accepted websocket. Its goroutine owns everything that the
// conversation does; others reach it through orders and cancel.
type session struct {
	hub    *Hub
	inst   *instance
	plane  Plane
	hello  hello
	link   *link
	log    *zap.Logger
	orders chan func() error
	done   chan struct{} // closed when the session is over
	ctx    context.Context
	cancel context.CancelCauseFunc // with a *closing
}

// conversation is what a plane adds to a session.
type conversation interface {
	// begin says what is said first.
	begin() error
	// receive handles one frame.
	receive(frame []byte) error
	// beat sends a heartbeat.
	beat() error
	// work sends what is due and returns when it wants to be called again; zero
	// means not on its own.
	work(now time.Time) (time.Time, error)
	// end is called once, if begin was, when the session is over and was not replaced.
	end()
}

// hold runs a session on an accepted connection until it ends.
func (h *Hub) hold(conn *websocket.Conn, plane Plane, hi hello) {
	limit := int64(acsReadLimit)
	if plane == TCS {
		limit = tcsReadLimit
	}
	s := &session{
		hub: h, inst: h.instance(hi.instanceARN), plane: plane, hello: hi,
		link: newLink(conn, limit, h.cadence.Write), orders: make(chan func() error), done: make(chan struct{}),
		log: h.log.With(zap.Stringer("plane", plane), zap.String("instance", hi.instanceARN)),
	}
	s.ctx, s.cancel = context.WithCancelCause(h.ctx)
	defer s.cancel(nil)
	go s.link.read()
	defer s.link.shut()
	defer close(s.done)
	if prev := s.inst.take(s); prev != nil {
		s.log.Info("connection replaced by a newer one")
		prev.giveWay()
	}
	defer s.inst.leave(s)

	var c conversation
	if plane == TCS {
		c = &tcs{session: s}
	} else {
		c = &acs{session: s}
	}
	err := s.converse(c)
	if s.inst.isCurrent(s) {
		c.end()
	}
	s.log.Info("connection ended", zap.Error(err))
}

// giveWay ends a session for a newer one and waits for it; a session that hangs in
// a write to a dead connection is cut.
func (s *session) giveWay() {
	s.cancel(&closing{code: websocket.ClosePolicyViolation, text: "replaced by a newer connection"})
	limit := time.NewTimer(s.hub.cadence.CloseWait)
	defer limit.Stop()
	select {
	case <-s.done:
	case <-limit.C:
		_ = s.link.conn.Close() // only to end the write
		<-s.done
	}
}

// converse runs the conversation and the closing handshake.
func (s *session) converse(c conversation) error {
	if exc := s.hub.authorize(s.hello); exc != nil {
		s.finish(c, &closing{code: websocket.ClosePolicyViolation, text: exc.Type, exception: exc, wait: true})
		return exc
	}
	s.log.Info("connection opened")
	err := s.loop(c)
	var end *closing
	if errors.As(err, &end) {
		s.finish(c, end)
	}
	return err
}

func (s *session) loop(c conversation) error {
	if err := c.begin(); err != nil {
		return err
	}
	beat := time.NewTicker(s.hub.cadence.Heartbeat)
	defer beat.Stop()
	age := time.NewTimer(s.hub.cadence.ConnectionAge)
	defer age.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		next, err := c.work(time.Now())
		if err != nil {
			return err
		}
		due.Stop()
		if !next.IsZero() {
			due.Reset(time.Until(next))
		}
		select {
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case frame, ok := <-s.link.frames:
			if !ok {
				return s.link.readErr
			}
			err = c.receive(frame)
		case order := <-s.orders:
			err = order()
		case <-beat.C:
			err = c.beat()
		case <-age.C:
			return &closing{code: websocket.CloseNormalClosure, text: expiredText, wait: true}
		case <-s.wake():
		case <-due.C:
		}
		if err != nil {
			return err
		}
	}
}

// wake tells of new payloads; only ACS carries them.
func (s *session) wake() <-chan struct{} {
	if s.plane == ACS {
		return s.inst.wake
	}
	return nil
}

// finish says goodbye as end wants it. What the agent still says while its close
// frame is awaited is heard: an ack in flight counts.
func (s *session) finish(c conversation, end *closing) {
	if end.hard {
		return
	}
	if end.exception != nil {
		if frame, err := encode(end.exception.Type, exceptionBody{end.exception.Message}); err == nil {
			if err := s.link.write(frame); err != nil {
				return
			}
		}
	}
	s.link.sendClose(end.code, end.text)
	if !end.wait {
		return
	}
	limit := time.NewTimer(s.hub.cadence.CloseWait)
	defer limit.Stop()
	for {
		select {
		case frame, ok := <-s.link.frames:
			if !ok {
				return
			}
			if err := c.receive(frame); err != nil {
				return
			}
		case <-limit.C:
			return
		}
	}
}

// send writes one message. A silenced session pretends to have sent it.
func (s *session) send(typeName string, message any) error {
	frame, err := encode(typeName, message)
	if err != nil {
		return err
	}
	return s.sendFrame(typeName, frame)
}

func (s *session) sendFrame(typeName string, frame []byte) error {
	if err := s.link.write(frame); err != nil && !errors.Is(err, errSilenced) {
		return fmt.Errorf("send %s: %w", typeName, err)
	}
	return nil
}

// do runs an order on the session's goroutine; false if the session is over.
func (s *session) do(order func() error) bool {
	select {
	case s.orders <- order:
		return true
	case <-s.done:
		return false
	}
}
