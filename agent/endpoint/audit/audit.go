package audit

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Event is what was asked for.
type Event string

// Events as the log names them. Refused is an addition: credentials that were asked
// for by another task than theirs.
const (
	Unknown       Event = ""
	GetTaskRole   Event = "GetCredentials"
	GetExecution  Event = "GetCredentialsExecutionRole"
	Refused       Event = "GetCredentialsRefused"
	version             = "2"
	maxUserAgent        = 256
	credentialsV2       = "/v2/credentials"
)

// How lines are gathered after some were written, so that a burst of requests costs a
// few writes and not one each. A killed agent loses what came in such a while; the line
// that comes first after one is written at once.
const (
	gatherTime  = 20 * time.Millisecond
	gatherBytes = 256 << 10 // so many are written before the time is over
	maxBuffered = 1 << 20
)

// Options configure a Log.
type Options struct {
	Out                  io.Writer // gets whole lines; nil: no log is written
	Cluster, InstanceARN func() string
	Log                  *zap.Logger
	Now                  func() time.Time // nil is time.Now
}

// Log is the audit log. Lines are written in the background, in order, at most
// gatherTime after they came; when the disk is slower than the requests, these wait.
type Log struct {
	o       Options
	mu      sync.Mutex
	room    sync.Cond // signalled when buffer was taken
	buffer  []byte
	closed  bool
	wake    chan struct{} // there are lines
	full    chan struct{} // there are gatherBytes of them
	closing chan struct{}
	stopped chan struct{}
}

// New starts a log. The caller closes it.
func New(o Options) *Log {
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Log{
		o: o, wake: make(chan struct{}, 1), full: make(chan struct{}, 1),
		closing: make(chan struct{}), stopped: make(chan struct{}),
	}
	l.room.L = &l.mu
	go l.write()
	return l
}

// Close writes what is left.
func (l *Log) Close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.closing)
	}
	l.mu.Unlock()
	<-l.stopped
}

// Limited implements gate.Audit.
func (l *Log) Limited(r *http.Request) { l.Record(r, http.StatusTooManyRequests, "", Unknown) }

// Record tells of a request, the status it was answered with and, where that is known,
// the task that owns the credentials.
func (l *Log) Record(r *http.Request, status int, taskARN string, event Event) {
	if l.o.Out == nil {
		return
	}
	now := l.o.Now().UTC()
	var cluster, instance string
	if event != Unknown {
		cluster, instance = l.o.Cluster(), l.o.InstanceARN()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.buffer) > maxBuffered && !l.closed {
		l.room.Wait()
	}
	if l.closed {
		return
	}
	b := now.AppendFormat(l.buffer, time.RFC3339)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, orDash(r.RemoteAddr)...)
	b = append(b, ` "`...)
	b = appendClean(b, shownPath(r.URL.Path), 1024)
	b = append(b, `" "`...)
	b = appendClean(b, r.UserAgent(), maxUserAgent)
	b = append(b, `" `...)
	b = append(b, orDash(taskARN)...)
	b = append(b, ' ')
	if event != Unknown {
		b = append(b, event...)
		b = append(b, " "+version+" "...)
		b = append(b, orDash(cluster)...)
		b = append(b, ' ')
		b = append(b, orDash(instance)...)
	}
	l.buffer = append(b, '\n')
	signal(l.wake)
	if len(l.buffer) >= gatherBytes {
		signal(l.full)
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// write is the goroutine that writes.
func (l *Log) write() {
	defer close(l.stopped)
	var spare []byte
	failing := false
	for open := true; open; {
		select {
		case <-l.wake:
		case <-l.closing:
			open = false
		}
		lines := l.take(spare)
		if len(lines) > 0 && l.o.Out != nil {
			_, err := l.o.Out.Write(lines)
			if err != nil && !failing && l.o.Log != nil {
				l.o.Log.Error("audit log not written", zap.Error(err))
			}
			failing = err != nil
		}
		if spare = lines; cap(spare) > 2*gatherBytes {
			spare = nil
		}
		if open {
			l.gather()
		}
	}
}

// take returns the lines that are there, and lets others come into spare.
func (l *Log) take(spare []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.buffer
	l.buffer = spare[:0]
	l.room.Broadcast()
	return lines
}

// gather waits until lines are worth another write.
func (l *Log) gather() {
	timer := time.NewTimer(gatherTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.full:
	case <-l.closing:
	}
}

// shownPath keeps credentials ids out of the log.
func shownPath(p string) string {
	if strings.HasPrefix(p, credentialsV2+"/") {
		return credentialsV2
	}
	return p
}

// appendClean keeps a caller's text from breaking out of its quotes or its line.
func appendClean(b []byte, s string, limit int) []byte {
	if len(s) > limit {
		s = s[:limit]
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return b
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
