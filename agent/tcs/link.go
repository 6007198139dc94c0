package tcs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"ecsagent/agent/uplink"
)

// link is one connection. Its owner writes; one goroutine beside it reads.
type link struct {
	s      *Session
	conn   *uplink.Conn
	target *url.URL
	active chan struct{} // a message came that keeps the connection
}

// serve runs the connection until it ends and says why. It waits for the goroutine
// it starts.
func (l *link) serve(ctx context.Context) error {
	var wg sync.WaitGroup
	reads := make(chan error, 1)
	wg.Go(func() { reads <- l.read() })
	// A write that hangs ends with the context too.
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Raw.Close() })
	err := l.watch(ctx, reads)
	stop()
	_ = l.conn.Raw.Close()
	_ = l.conn.Close()
	wg.Wait()
	return err
}

// watch sends what is ready and waits for the end of the connection (docs/spec/01
// section 4.1).
func (l *link) watch(ctx context.Context, reads <-chan error) error {
	r := l.s.rand
	quiet := time.NewTimer(r.Jitter(silence, silenceJitter))
	defer quiet.Stop()
	age := time.NewTimer(r.Jitter(lifetime, lifetimeJitter))
	defer age.Stop()
	checks := time.NewTicker(every)
	defer checks.Stop()
	l.s.out.wake() // what waited for a connection
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-reads:
			return err
		case <-l.s.changed:
			if l.s.inactive.Load() {
				return errInactive
			}
		case <-l.active:
			quiet.Reset(r.Jitter(silence, silenceJitter))
		case <-quiet.C:
			return l.finish(ctx, reads, errSilent)
		case <-age.C:
			return l.finish(ctx, reads, errExpired)
		case <-checks.C:
			err = l.sendStatus(ctx)
		case <-l.s.out.ready:
			err = l.sendReady(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// finish says goodbye and gives the peer a moment to answer. Nothing is sent after
// that: what is collected meanwhile waits for the next connection.
func (l *link) finish(ctx context.Context, reads <-chan error, why error) error {
	text := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "ConnectionExpired: Reconnect to continue")
	if err := l.conn.WriteControl(websocket.CloseMessage, text, time.Now().Add(closeGrace)); err != nil {
		return fmt.Errorf("write close frame: %w", err)
	}
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-ctx.Done():
	case err := <-reads:
		l.s.log.Debug("connection to TCS is closed", zap.Error(err))
	case <-grace.C:
	}
	return why
}

// sendReady writes everything that is queued.
func (l *link) sendReady(ctx context.Context) error {
	for {
		m, ok := l.s.out.first()
		if !ok {
			return nil
		}
		if err := l.send(ctx, m); err != nil {
			return err
		}
		l.s.out.sent(m)
	}
}

// sendStatus reports the instance's checks, if they ran since they were reported.
func (l *link) sendStatus(ctx context.Context) error {
	if l.s.opts.Checks == nil {
		return nil
	}
	list, run := l.s.opts.Checks.Statuses()
	if len(list) == 0 || l.s.reported.Load() == run+1 {
		return nil
	}
	m, err := l.s.statusRound(list, time.Now())
	if err != nil {
		l.s.log.Error("instance status not encoded", zap.Error(err))
		return nil
	}
	if err := l.send(ctx, m); err != nil {
		return err
	}
	l.s.reported.Store(run + 1)
	return nil
}

// send writes a message as a signed frame.
func (l *link) send(ctx context.Context, m message) error {
	body, err := json.Marshal(struct {
		Type    string          `json:"type"`
		Message json.RawMessage `json:"message"`
	}{m.kind, m.body})
	if err != nil {
		return fmt.Errorf("encode %s: %w", m.kind, err)
	}
	frame, err := l.sign(ctx, body)
	if err != nil {
		return fmt.Errorf("sign %s: %w", m.kind, err)
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(uplink.IOTimeout)); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	if err := l.conn.WriteMessage(websocket.TextMessage, frame); err != nil {
		return fmt.Errorf("write %s: %w", m.kind, err)
	}
	return nil
}

// sign puts the header block of a signed request before the body: the signature is
// that of a GET of the whole address with the body as its payload (docs/spec/01
// section 4.1).
func (l *link) sign(ctx context.Context, body []byte) ([]byte, error) {
	target := *l.target
	target.Scheme = strings.Replace(target.Scheme, "ws", "http", 1)
	header, err := l.s.dialer.Sign(ctx, &target, body)
	if err != nil {
		return nil, err
	}
	return frame(target.Host, header, body), nil
}

// frame renders headers, in the order of their names, an empty line, and the body.
func frame(host string, header http.Header, body []byte) []byte {
	lines := []string{"Host: " + host}
	for name, values := range header {
		for _, v := range values {
			lines = append(lines, name+": "+v)
		}
	}
	slices.Sort(lines)
	var out bytes.Buffer
	for _, line := range lines {
		out.WriteString(line)
		out.WriteString("\r\n")
	}
	out.WriteString("\r\n")
	out.Write(body)
	return out.Bytes()
}

// read handles frames one by one until the connection ends.
func (l *link) read() error {
	for {
		if err := l.conn.SetReadDeadline(time.Now().Add(uplink.IOTimeout)); err != nil {
			return fmt.Errorf("set read deadline: %w", err)
		}
		_, text, err := l.conn.ReadMessage()
		if err != nil {
			return fmt.Errorf("read frame: %w", err)
		}
		l.receive(text)
	}
}

// receive handles one frame. Acknowledgements are not matched with what was sent: a
// frame that was written counts as delivered.
func (l *link) receive(text []byte) {
	kind, note, err := decode(text)
	switch {
	case err != nil:
		l.s.log.Warn("frame is malformed and dropped", zap.Int("bytes", len(text)), zap.Error(err))
	case keeps(kind):
		select {
		case l.active <- struct{}{}:
		default:
		}
	case kind == typeStop:
		l.s.log.Info("ECS asks to stop telemetry", zap.String("reason", note))
	case strings.HasSuffix(kind, "Exception"):
		l.s.log.Warn("ECS did not take telemetry", zap.String("reason", note), zap.String("type", kind))
	default:
		l.s.log.Info("message is not known and ignored", zap.String("type", kind))
	}
}

// keeps reports whether a message shows that the peer listens.
func keeps(kind string) bool {
	switch kind {
	case typeHeartbeat, typeAckMetric, typeAckHealth, typeAckInstanceStatus:
		return true
	}
	return false
}

// decode reads what counts of a frame from ECS: its type and its text for people.
func decode(text []byte) (kind, note string, err error) {
	var m struct {
		Type    string          `json:"type"`
		Message json.RawMessage `json:"message"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return "", "", fmt.Errorf("decode frame: %w", err)
	}
	if m.Type == "" {
		return "", "", fmt.Errorf("decode frame: no type")
	}
	var body struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(m.Message, &body) // no text is fine
	return clip(m.Type), clip(body.Message), nil
}

// clip bounds a text that goes to the log.
func clip(s string) string {
	const limit = 512
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "")
	}
	return s
}
