package acs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"ecsagent/agent/acs/wire"
	"ecsagent/agent/failpoint"
	"ecsagent/agent/uplink"
)

// link is one connection.
type link struct {
	s    *Session
	conn *websocket.Conn
	raw  net.Conn // under conn

	out     chan outgoing
	active  chan struct{} // a recognised message came
	ended   chan struct{} // the connection is being dropped
	closing chan struct{} // the writer has to finish with a close frame
	written chan struct{} // the writer has finished
}

// outgoing is a frame for the writer.
type outgoing struct {
	frame   []byte
	written func()
}

func newLink(s *Session, conn *websocket.Conn, raw net.Conn) *link {
	return &link{
		s: s, conn: conn, raw: raw,
		out: make(chan outgoing, queue), active: make(chan struct{}, 1),
		ended: make(chan struct{}), closing: make(chan struct{}), written: make(chan struct{}),
	}
}

// serve runs the connection until it ends and says why. It waits for the
// goroutines it starts.
func (l *link) serve(ctx context.Context) error {
	var wg sync.WaitGroup
	reads, writes := make(chan error, 1), make(chan error, 1)
	wg.Go(func() { reads <- l.read(ctx) })
	wg.Go(func() { writes <- l.write() })

	err := l.watch(ctx, reads, writes)
	close(l.ended)
	_ = l.raw.Close()
	_ = l.conn.Close()
	wg.Wait()
	return err
}

// watch waits for the end of the connection (docs/spec/01 sections 3.2 and 3.3).
func (l *link) watch(ctx context.Context, reads, writes <-chan error) error {
	r := l.s.rand
	quiet := time.NewTimer(r.Jitter(silence, silenceJitter))
	defer quiet.Stop()
	age := time.NewTimer(r.Jitter(lifetime, lifetimeJitter))
	defer age.Stop()
	grace := time.NewTimer(time.Hour)
	grace.Stop()
	defer grace.Stop()

	var ending error // why a close frame was sent
	finish := func(why error) {
		ending = why
		grace.Reset(closeGrace)
		close(l.closing)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.active:
			quiet.Reset(r.Jitter(silence, silenceJitter))
		case <-quiet.C:
			return errSilent
		case <-age.C:
			if ending == nil {
				finish(errExpired)
			}
		case <-grace.C:
			return ending
		case err := <-writes:
			if err != nil {
				return err
			}
			if errors.Is(ending, errCloseRequested) {
				return ending
			}
			writes = nil
		case err := <-reads:
			if ending != nil {
				return ending
			}
			if !errors.Is(err, errCloseRequested) {
				return err
			}
			reads = nil
			finish(err)
		}
	}
}

// read handles frames one by one until the connection ends.
func (l *link) read(ctx context.Context) error {
	for {
		if err := l.conn.SetReadDeadline(time.Now().Add(uplink.IOTimeout)); err != nil {
			return fmt.Errorf("set read deadline: %w", err)
		}
		kind, frame, err := l.conn.ReadMessage()
		if errors.Is(err, websocket.ErrReadLimit) {
			return fmt.Errorf("read frame: larger than %d bytes: %w", wire.MaxFrame, err)
		}
		if err != nil {
			return fmt.Errorf("read frame: %w", err)
		}
		if kind != websocket.TextMessage {
			l.s.log.Debug("binary frame is read as text")
		}
		if err := l.receive(ctx, frame); err != nil {
			return err
		}
	}
}

// receive handles one frame. An error ends the connection.
func (l *link) receive(ctx context.Context, frame []byte) error {
	m, err := wire.Decode(frame)
	switch {
	case err == nil:
		select {
		case l.active <- struct{}{}:
		default:
		}
		l.s.heard.Store(true)
		return l.s.handle(ctx, l, m)
	case errors.Is(err, wire.ErrUnknownType):
		l.s.log.Info("message is not known and ignored", zap.Error(err))
	default:
		l.s.log.Warn("frame is malformed and dropped", zap.Int("bytes", len(frame)), zap.Error(err))
	}
	return nil
}

// write sends frames until the connection ends, or until it is asked to finish:
// then what is queued goes out, and a close frame after it.
func (l *link) write() error {
	defer l.discard()
	defer close(l.written)
	for {
		select {
		case <-l.ended:
			return nil
		case o := <-l.out:
			if err := l.writeFrame(o); err != nil {
				return err
			}
			continue
		case <-l.closing:
		}
		for len(l.out) > 0 {
			if err := l.writeFrame(<-l.out); err != nil {
				return err
			}
		}
		return l.writeClose()
	}
}

func (l *link) writeFrame(o outgoing) error {
	if o.written != nil {
		defer o.written()
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(uplink.IOTimeout)); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	if err := failpoint.Before("acs", "send"); err != nil {
		return err
	}
	if err := l.conn.WriteMessage(websocket.TextMessage, o.frame); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return failpoint.After("acs", "send")
}

func (l *link) writeClose() error {
	text := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "ConnectionExpired: Reconnect to continue")
	if err := l.conn.WriteControl(websocket.CloseMessage, text, time.Now().Add(closeGrace)); err != nil {
		return fmt.Errorf("write close frame: %w", err)
	}
	return nil
}

// discard releases those who wait for frames that will not be sent.
func (l *link) discard() {
	for {
		select {
		case o := <-l.out:
			if o.written != nil {
				o.written()
			}
		default:
			return
		}
	}
}

// send queues a message for the writer, and waits for a place in the queue as long
// as the connection lasts. A message that is not sent is lost: ACS sends again what
// is not acknowledged.
func (l *link) send(m any) {
	frame, ok := l.encode(m)
	if !ok {
		return
	}
	select {
	case l.out <- outgoing{frame: frame}:
	case <-l.written:
	case <-l.ended:
	}
}

// offer queues a message if there is a place for it now.
func (l *link) offer(m any, written func()) bool {
	frame, ok := l.encode(m)
	if !ok {
		return false
	}
	select {
	case <-l.written:
		return false
	case <-l.ended:
		return false
	default:
	}
	select {
	case l.out <- outgoing{frame, written}:
		return true
	default:
		return false
	}
}

func (l *link) encode(m any) ([]byte, bool) {
	frame, err := wire.Encode(m)
	if err != nil {
		l.s.log.Error("cannot encode message", zap.Error(err))
		return nil, false
	}
	return frame, true
}
