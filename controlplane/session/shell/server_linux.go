package shell

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"ecsagent/controlplane/session"
)

// defaultSessions is how many sessions there may be at once when the configuration does
// not say.
const defaultSessions = 2

const (
	beginLimit = 10 * time.Second       // a connection without a session
	endGrace   = 5 * time.Second        // of a program whose terminal has gone
	drainLimit = 200 * time.Millisecond // for what a program that ended has written
	chunk      = 4096                   // bytes of output in one message
	inputQueue = 1024                   // messages that a program has not read
	placeWait  = 5 * time.Second        // for a session whose client has seen its end already
)

// Server is the agent of one container.
type Server struct {
	Folder  string // of the socket
	Limit   int    // of sessions at once; 0: the default
	Version string
	Log     *zap.Logger
}

// Limit reads the number of sessions from a configuration of the SSM agent; 0 when it does
// not say.
func Limit(file string) int {
	var c struct {
		Mgs struct{ SessionWorkersLimit int }
	}
	text, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(text, &c) != nil {
		return 0
	}
	return max(0, c.Mgs.SessionWorkersLimit)
}

// Serve serves until ctx ends, and ends the sessions.
func (s *Server) Serve(ctx context.Context) error {
	listener, err := s.listen()
	if err != nil {
		return fmt.Errorf("listen for sessions: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer cancel()
	spare := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer spare()
	limit := s.Limit
	if limit <= 0 {
		limit = defaultSessions
	}
	places := make(chan struct{}, limit)
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept a session: %w", err)
		}
		sessions.Go(func() { s.serve(ctx, conn, places) })
	}
}

// listen makes the socket, for the owner of its folder alone: on the host, whoever runs the
// agent that made the folder.
func (s *Server) listen() (net.Listener, error) {
	path := filepath.Join(s.Folder, session.SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	mask := unix.Umask(0o177)
	listener, err := net.Listen("unix", path)
	unix.Umask(mask)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(s.Folder); err == nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
				s.Log.Warn("socket not given to the owner of its folder", zap.Error(err))
			}
		}
	}
	return listener, nil
}

func (s *Server) serve(ctx context.Context, raw net.Conn, places chan struct{}) {
	conn := session.Framed(raw)
	begin, err := readBegin(raw, conn)
	if err != nil {
		_ = raw.Close()
		s.Log.Info("no session", zap.Error(err))
		return
	}
	refuse := func(why string) {
		m := session.NewClosed(begin.SessionID, why, nil)
		_ = conn.Write(m.Encode()) // the other side may have gone
		_ = raw.Close()
		s.Log.Info("session refused", zap.String("session", begin.SessionID), zap.String("reason", why))
	}
	wait := time.NewTimer(placeWait)
	defer wait.Stop()
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
		_ = raw.Close()
		return
	case <-wait.C:
		refuse(fmt.Sprintf("this container has %d sessions already", cap(places)))
		return
	}
	argv, err := words(begin.Command)
	if err != nil {
		refuse(err.Error())
		return
	}
	s.Log.Info("session begins", zap.String("session", begin.SessionID), zap.String("program", argv[0]))
	t := &terminal{server: s, id: begin.SessionID, argv: argv, began: time.Now(), input: make(chan []byte, inputQueue)}
	t.stream = session.NewStream(conn, true, t.deliver)
	t.serve(ctx)
	s.Log.Info("session ended", zap.String("session", begin.SessionID))
}

func readBegin(raw net.Conn, conn session.Conn) (session.Begin, error) {
	var begin session.Begin
	if err := raw.SetReadDeadline(time.Now().Add(beginLimit)); err != nil {
		return begin, err
	}
	text, err := conn.Read()
	if err == nil {
		err = json.Unmarshal(text, &begin)
	}
	if err == nil {
		err = raw.SetReadDeadline(time.Time{})
	}
	return begin, err
}

// terminal is a session: a program on a terminal and the stream that it is told by.
type terminal struct {
	server *Server
	id     string
	argv   []string
	began  time.Time
	stream *session.Stream
	input  chan []byte

	// Of the stream's goroutine until the program runs.
	size    *session.Size
	started bool

	mu     sync.Mutex
	master *os.File // nil: the program does not run
	work   sync.WaitGroup
	over   <-chan struct{} // closed when the stream is
}

func (t *terminal) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	t.over = ctx.Done()
	parameters := session.Encode(map[string]any{"SessionType": session.InteractiveCommands, "Properties": map[string]string{}})
	t.work.Go(func() {
		t.stream.Send(session.PayloadHandshakeRequest, session.Encode(session.HandshakeRequest{
			AgentVersion:           t.server.Version,
			RequestedClientActions: []session.RequestedAction{{ActionType: session.ActionSessionType, ActionParameters: parameters}},
		}))
	})
	if err := t.stream.Run(ctx); err != nil && ctx.Err() == nil {
		t.server.Log.Info("session broke", zap.String("session", t.id), zap.Error(err))
	}
	cancel()
	t.hangUp()
	t.work.Wait()
}

// hangUp takes the terminal away from the program.
func (t *terminal) hangUp() {
	t.mu.Lock()
	master := t.master
	t.master = nil
	t.mu.Unlock()
	if master != nil {
		_ = master.Close()
	}
}

// deliver takes what the client says.
func (t *terminal) deliver(m session.Message) (reply []session.Outgoing, done bool) {
	switch {
	case m.Type == session.TypeClosed:
		return nil, true
	case m.PayloadType == session.PayloadHandshakeResponse && !t.started:
		t.started = true
		reply = []session.Outgoing{{Type: session.PayloadHandshakeComplete, Content: session.Encode(session.HandshakeComplete{HandshakeTimeToComplete: time.Since(t.began)})}}
		t.run()
	case m.PayloadType == session.PayloadSize:
		var size session.Size
		if json.Unmarshal(m.Payload, &size) == nil && size.Cols > 0 && size.Rows > 0 {
			t.size = &size
			t.resize()
		}
	case m.PayloadType == session.PayloadFlag:
		return nil, len(m.Payload) == 4 && binary.BigEndian.Uint32(m.Payload) == session.FlagTerminate
	case m.PayloadType == session.PayloadOutput && t.started:
		select {
		case t.input <- m.Payload:
		default: // the program does not read: as a terminal does, the rest is dropped
		}
	}
	return reply, false
}

func (t *terminal) resize() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.master != nil && t.size != nil {
		resize(t.master, *t.size)
	}
}

// run starts the program and what carries its output and input.
func (t *terminal) run() {
	cmd, master, err := start(t.argv)
	if err != nil {
		t.work.Go(func() { t.stream.Finish(session.NewClosed(t.id, err.Error(), nil)) })
		return
	}
	t.mu.Lock()
	t.master = master
	t.mu.Unlock()
	t.resize()
	exited := make(chan struct{})
	t.work.Go(func() {
		defer close(exited)
		_ = cmd.Wait() // the state tells
		// What it started may have the terminal open still.
		_ = master.SetReadDeadline(time.Now().Add(drainLimit)) // it may be closed
	})
	t.work.Go(func() {
		select {
		case <-exited:
			return
		case <-t.over:
		}
		grace := time.NewTimer(endGrace)
		defer grace.Stop()
		select {
		case <-exited:
		case <-grace.C:
			kill(cmd)
		}
	})
	t.work.Go(func() {
		for {
			select {
			case text := <-t.input:
				if _, err := master.Write(text); err != nil {
					return
				}
			case <-exited:
				return
			}
		}
	})
	t.work.Go(func() {
		t.output(master)
		<-exited
		t.hangUp()
		code := exitCode(cmd)
		t.stream.Finish(session.NewClosed(t.id, "", &code))
	})
}

// output passes on what the program writes until it ended, or nobody has its terminal
// open any more.
func (t *terminal) output(master *os.File) {
	for {
		buffer := make([]byte, chunk)
		n, err := master.Read(buffer)
		if n > 0 && !t.stream.Send(session.PayloadOutput, buffer[:n]) || err != nil {
			return
		}
	}
}

// exitCode is that of a program that ended, as a shell tells it.
func exitCode(cmd *exec.Cmd) int {
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return cmd.ProcessState.ExitCode()
}
