package agentlink

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// controlWait bounds the writing of a close or pong frame.
const controlWait = 5 * time.Second

// errSilenced is what a write on a link yields that a fault has silenced.
var errSilenced = errors.New("the connection was told to be silent")

// link is one websocket: its reader hands frames over, and its owner writes with
// deadlines.
type link struct {
	conn      *websocket.Conn
	writeWait time.Duration
	frames    chan []byte   // closed when reading has ended
	stop      chan struct{} // closed by the owner when it takes no more frames
	readErr   error         // valid once frames is closed
	silent    atomic.Bool   // a fault: nothing more is written, not even close frames
}

func newLink(conn *websocket.Conn, limit int64, writeWait time.Duration) *link {
	l := &link{conn: conn, writeWait: writeWait, frames: make(chan []byte), stop: make(chan struct{})}
	conn.SetReadLimit(limit)
	conn.SetCloseHandler(func(code int, _ string) error {
		l.control(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""))
		return nil
	})
	conn.SetPingHandler(func(data string) error {
		l.control(websocket.PongMessage, []byte(data))
		return nil
	})
	return l
}

// read runs until the connection ends. Binary frames are read as if they were
// text, as agents do too.
func (l *link) read() {
	defer close(l.frames)
	for {
		_, data, err := l.conn.ReadMessage()
		if err != nil {
			l.readErr = err
			return
		}
		select {
		case l.frames <- data:
		case <-l.stop:
			return
		}
	}
}

// write sends one text frame.
func (l *link) write(frame []byte) error { return l.writeFrame(websocket.TextMessage, frame) }

func (l *link) writeFrame(kind int, frame []byte) error {
	if l.silent.Load() {
		return errSilenced
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.writeWait)); err != nil {
		return err
	}
	return l.conn.WriteMessage(kind, frame)
}

// control sends a control frame; failing to is no matter, since the connection is
// then at its end anyhow and the reader says so.
func (l *link) control(kind int, data []byte) {
	if !l.silent.Load() {
		_ = l.conn.WriteControl(kind, data, time.Now().Add(controlWait))
	}
}

// sendClose starts the closing handshake.
func (l *link) sendClose(code int, text string) {
	l.control(websocket.CloseMessage, websocket.FormatCloseMessage(code, text))
}

// shut ends the connection hard and waits for the reader.
func (l *link) shut() {
	close(l.stop)
	_ = l.conn.Close() // the peer learns nothing from a failure, nor do we
	for range l.frames {
	}
}
