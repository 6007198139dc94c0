package session

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// writeLimit bounds one write to either side.
const writeLimit = 30 * time.Second

// framed carries messages over a stream of bytes, each with its length before it.
type framed struct{ net.Conn }

// Framed makes a Conn of a stream connection.
func Framed(c net.Conn) Conn { return framed{c} }

// Read implements Conn.
func (f framed) Read() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(f.Conn, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxMessage {
		return nil, fmt.Errorf("message of %d bytes: at most %d are taken", n, maxMessage)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(f.Conn, b)
	return b, err
}

// Write implements Conn.
func (f framed) Write(b []byte) error {
	if err := f.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	_, err := f.Conn.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...))
	return err
}

// Begin is the first message of a Broker to the agent in a container.
type Begin struct {
	SessionID string
	Command   string
}

// SocketName is the agent's socket, in the folder of its logs.
const SocketName = "session.sock"
