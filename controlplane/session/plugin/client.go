package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"ecsagent/controlplane/session"
	"ecsagent/controlplane/session/broker"
)

// Session is what ExecuteCommand answers.
type Session struct {
	SessionID  string `json:"sessionId"`
	StreamURL  string `json:"streamUrl"`
	TokenValue string `json:"tokenValue"`
}

// Options of a client.
type Options struct {
	Session Session
	In      *os.File
	Out     io.Writer
	Version string
}

const (
	dialLimit = 15 * time.Second
	chunk     = 1024 // bytes of input in one message
)

// Result is how a session ended.
type Result struct {
	Output   string // why, unless the command just ended
	ExitCode *int   // nil when it was not told
}

// Run opens the session and joins it with the terminal until it ends.
func Run(ctx context.Context, o Options) (Result, error) {
	dialing, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	ws, answer, err := websocket.DefaultDialer.DialContext(dialing, o.Session.StreamURL, nil)
	if err != nil {
		return Result{}, fmt.Errorf("open the session at %s: %w", o.Session.StreamURL, err)
	}
	defer answer.Body.Close()
	open := session.OpenDataChannel{
		MessageSchemaVersion: "1.0", RequestID: uuid.NewString(), TokenValue: o.Session.TokenValue,
		ClientID: uuid.NewString(), ClientVersion: o.Version,
	}
	if err := ws.WriteJSON(open); err != nil {
		return Result{}, errors.Join(fmt.Errorf("open the session: %w", err), ws.Close())
	}
	return join(ctx, broker.Websocket(ws), o)
}

// client is one session. What deliver touches is the stream's goroutine's.
type client struct {
	opts   Options
	stream *session.Stream
	term   *terminal
	result *Result
	began  chan struct{} // closed when the handshake is complete
	once   sync.Once
}

func join(ctx context.Context, conn session.Conn, o Options) (Result, error) {
	c := &client{opts: o, began: make(chan struct{}), term: openTerminal(o.In)}
	c.stream = session.NewStream(conn, false, c.deliver)
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { c.sizes(ctx) })
	work.Go(func() { c.signals(ctx) })
	restore, err := c.term.raw()
	if err != nil {
		restore = func() {} // it is no terminal
	}
	// It ends with the program: nothing wakes up who reads from a terminal.
	go c.input(ctx)
	err = c.stream.Run(ctx)
	cancel()
	work.Wait()
	restore()
	if c.result != nil {
		return *c.result, nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return Result{}, fmt.Errorf("session %s broke: %w", o.Session.SessionID, err)
}

func (c *client) deliver(m session.Message) (reply []session.Outgoing, done bool) {
	if m.Type == session.TypeClosed {
		var closed session.Closed
		c.result = &Result{}
		if json.Unmarshal(m.Payload, &closed) == nil {
			*c.result = Result{Output: closed.Output, ExitCode: closed.ExitCode}
		}
		return nil, true
	}
	switch m.PayloadType {
	case session.PayloadHandshakeRequest:
		reply = []session.Outgoing{{Type: session.PayloadHandshakeResponse, Content: answer(m.Payload, c.opts.Version)}}
	case session.PayloadHandshakeComplete:
		var complete session.HandshakeComplete
		if json.Unmarshal(m.Payload, &complete) == nil && complete.CustomerMessage != "" {
			fmt.Fprintln(c.opts.Out, complete.CustomerMessage)
		}
		c.once.Do(func() { close(c.began) })
	case session.PayloadOutput, session.PayloadStdErr, session.PayloadError:
		c.once.Do(func() { close(c.began) }) // an old agent has no handshake
		_, _ = c.opts.Out.Write(m.Payload)   // whether anybody reads does not matter to the container
	}
	return reply, false
}

// answer agrees to the type of the session, and to nothing else.
func answer(request []byte, version string) []byte {
	response := session.HandshakeResponse{ClientVersion: version}
	var asked session.HandshakeRequest
	if err := json.Unmarshal(request, &asked); err != nil {
		response.Errors = append(response.Errors, err.Error())
	}
	for _, a := range asked.RequestedClientActions {
		done := session.ProcessedAction{ActionType: a.ActionType, ActionStatus: session.ActionDone}
		if a.ActionType != session.ActionSessionType {
			done.ActionStatus, done.Error = session.ActionUnsupported, "unsupported action "+a.ActionType
			response.Errors = append(response.Errors, done.Error)
		}
		response.ProcessedClientActions = append(response.ProcessedClientActions, done)
	}
	return session.Encode(response)
}

// endOfInput is what Ctrl-D types.
const endOfInput = 4

// input passes on what is typed. The end of a file or pipe is that of the input.
func (c *client) input(ctx context.Context) {
	select {
	case <-c.began:
	case <-ctx.Done():
		return
	}
	for {
		text := make([]byte, chunk)
		n, err := c.opts.In.Read(text)
		if n > 0 && !c.stream.Send(session.PayloadOutput, text[:n]) {
			return
		}
		if err != nil {
			c.stream.Send(session.PayloadOutput, []byte{endOfInput})
			return
		}
	}
}

// sizes tells the size of the terminal, and each new one.
func (c *client) sizes(ctx context.Context) {
	changes, stop := c.term.changes()
	defer stop()
	select {
	case <-c.began:
	case <-ctx.Done():
		return
	}
	for {
		if size, ok := c.term.size(); ok && !c.stream.Send(session.PayloadSize, session.Encode(size)) {
			return
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return
		}
	}
}

// signals passes on, as a key, what arrives as a signal because the terminal is no raw one.
func (c *client) signals(ctx context.Context) {
	signals, stop := c.term.signals()
	defer stop()
	for {
		select {
		case s := <-signals:
			if !c.stream.Send(session.PayloadOutput, []byte{keyOf(s)}) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
