package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Relay carries what the agent tells the service manager out of its container: the manager
// listens to processes of its unit only.
type Relay struct {
	socket *net.UnixConn
	path   string
	done   chan struct{}
}

// OpenRelay listens at path and hands on to the service manager's socket, to.
func OpenRelay(path, to string) (*Relay, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("listen to the agent: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen to the agent: %w", err)
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen to the agent: %w", err)
	}
	if abstract, ok := strings.CutPrefix(to, "@"); ok {
		to = "\x00" + abstract
	}
	manager, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: to, Net: "unixgram"})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("speak to the service manager: %w", err), socket.Close())
	}
	r := &Relay{socket: socket, path: path, done: make(chan struct{})}
	go r.run(manager)
	return r, nil
}

// Close ends the relay.
func (r *Relay) Close() error {
	err := r.socket.Close()
	<-r.done
	if gone := os.Remove(r.path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

func (r *Relay) run(manager *net.UnixConn) {
	defer close(r.done)
	defer func() { _ = manager.Close() }() // nothing waits in it
	message := make([]byte, 8192)
	for {
		n, err := r.socket.Read(message)
		if err != nil {
			return // closed
		}
		if text := relayed(string(message[:n])); text != "" {
			_, _ = manager.Write([]byte(text)) // the next message says as much
		}
	}
}

// relayed is what of a message is the agent's to say. Its process's number is one of
// another kind to the service manager, and descriptors stay in the container.
func relayed(message string) string {
	var lines []string
	for line := range strings.SplitSeq(message, "\n") {
		for _, known := range []string{"READY=", "STATUS=", "WATCHDOG=1", "STOPPING="} {
			if strings.HasPrefix(line, known) {
				lines = append(lines, line)
			}
		}
	}
	return strings.Join(lines, "\n")
}

// decodeOne decodes the one JSON value that an answer holds.
func decodeOne(r io.Reader, into any) error {
	return json.NewDecoder(io.LimitReader(r, maxAnswer)).Decode(into)
}
