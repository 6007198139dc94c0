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
	maxBuffered         = 1 << 20
	credentialsV2       = "/v2/credentials"
)

// Options configure a Log.
type Options struct {
	Out                  io.Writer // gets whole lines; nil: no log is written
	Cluster, InstanceARN func() string
	Log                  *zap.Logger
	Now                  func() time.Time // nil is time.Now
}

// Log is the audit log. Lines are written in the background, in order, as soon as the
// last ones are written; when the disk is slower than the requests, these wait.
type Log struct {
	o       Options
	mu      sync.Mutex
	room    sync.Cond // signalled when buffer was taken
	buffer  []byte
	wake    chan struct{}
	closed  bool
	stopped chan struct{}
}

// New starts a log. The caller closes it.
func New(o Options) *Log {
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Log{o: o, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	l.room.L = &l.mu
	go l.write()
	return l
}

// Close writes what is left.
func (l *Log) Close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.wake)
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
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write is the goroutine that writes.
func (l *Log) write() {
	defer close(l.stopped)
	var spare []byte
	failing := false
	for {
		_, open := <-l.wake
		l.mu.Lock()
		lines := l.buffer
		l.buffer = spare[:0]
		l.room.Broadcast()
		l.mu.Unlock()
		if len(lines) > 0 && l.o.Out != nil {
			_, err := l.o.Out.Write(lines)
			if err != nil && !failing && l.o.Log != nil {
				l.o.Log.Error("audit log not written", zap.Error(err))
			}
			failing = err != nil
		}
		if spare = lines; cap(spare) > 2*maxBuffered {
			spare = nil
		}
		if !open {
			return
		}
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
