package audit

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func name(s string) func() string { return func() string { return s } }

// The lines of docs/spec/04 section 2.9.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	at := time.Date(2026, 2, 3, 10, 15, 0, 5, time.FixedZone("", 3600))
	l := New(Options{Out: &out, Cluster: name("prod-a"), InstanceARN: name("arn:ci"), Now: func() time.Time { return at }})
	r := httptest.NewRequest("GET", "/v2/credentials/secret-id", nil)
	r.RemoteAddr = "172.17.0.4:43122"
	r.Header.Set("User-Agent", "aws-sdk-go-v2/1.36.3 ua/2.1")
	l.Record(r, 200, "arn:task", GetTaskRole)
	l.Record(r, 200, "arn:task", GetExecution)
	l.Record(r, 400, "arn:task", Refused)
	r = httptest.NewRequest("GET", "/v1/credentials?id=secret-id", nil)
	r.RemoteAddr = "172.17.0.4:43130"
	r.Header.Set("User-Agent", "a\"b\\c\nd\x7f"+strings.Repeat("x", 1000))
	l.Record(r, 400, "", Unknown)
	r = httptest.NewRequest("GET", "/v4/e/stats", nil)
	r.RemoteAddr = ""
	l.Limited(r)
	l.Close()
	l.Record(r, 200, "late", GetTaskRole)
	want := strings.Join([]string{
		`2026-02-03T09:15:00Z 200 172.17.0.4:43122 "/v2/credentials" "aws-sdk-go-v2/1.36.3 ua/2.1" arn:task GetCredentials 2 prod-a arn:ci`,
		`2026-02-03T09:15:00Z 200 172.17.0.4:43122 "/v2/credentials" "aws-sdk-go-v2/1.36.3 ua/2.1" arn:task GetCredentialsExecutionRole 2 prod-a arn:ci`,
		`2026-02-03T09:15:00Z 400 172.17.0.4:43122 "/v2/credentials" "aws-sdk-go-v2/1.36.3 ua/2.1" arn:task GetCredentialsRefused 2 prod-a arn:ci`,
		`2026-02-03T09:15:00Z 400 172.17.0.4:43130 "/v1/credentials" "a\"b\\c?d?` + strings.Repeat("x", 256-8) + `" - `,
		`2026-02-03T09:15:00Z 429 - "/v4/e/stats" "" - `,
	}, "\n") + "\n"
	if got := out.String(); got != want {
		t.Errorf("log:\n%s\nwant:\n%s", got, want)
	}
}

type failing struct{ writes int }

func (f *failing) Write([]byte) (int, error) { f.writes++; return 0, errors.New("disk full") }

func TestFailureIsToldOnce(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	out := &failing{}
	l := New(Options{Out: out, Cluster: name(""), InstanceARN: name(""), Log: zap.New(core)})
	for range 100 {
		l.Limited(httptest.NewRequest("GET", "/", nil))
	}
	l.Close()
	l.Close()
	if out.writes == 0 || logs.Len() != 1 {
		t.Errorf("%d writes, %d log lines", out.writes, logs.Len())
	}
}

func TestNoLog(t *testing.T) {
	l := New(Options{})
	l.Record(httptest.NewRequest("GET", "/", nil), 200, "arn", GetTaskRole)
	l.Close()
}

// writes keeps when it was written to, since it was made, and how many lines.
type writes struct {
	begin time.Time
	at    []time.Duration
	lines []int
}

func (w *writes) Write(p []byte) (int, error) {
	w.at, w.lines = append(w.at, time.Since(w.begin)), append(w.lines, bytes.Count(p, []byte("\n")))
	return len(p), nil
}

// Lines of a burst share writes; one that comes alone, a full buffer and the end wait
// for nothing.
func TestGathering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &writes{begin: time.Now()}
		l := New(Options{Out: out, Cluster: name("c"), InstanceARN: name("i")})
		r := httptest.NewRequest("GET", "/v2/credentials/x", nil)
		burst := func(n int) {
			for range n {
				l.Record(r, 200, "arn:task", GetTaskRole)
			}
		}
		burst(1)
		synctest.Wait()
		for range 10 {
			time.Sleep(time.Millisecond)
			burst(100)
			synctest.Wait()
		}
		time.Sleep(time.Second)
		burst(1)
		synctest.Wait()
		line := len("2000-01-01T00:00:00Z 200 192.0.2.1:1234 \"/v2/credentials\" \"\" arn:task GetCredentials 2 c i\n")
		many := gatherBytes/line + 1
		time.Sleep(time.Millisecond)
		burst(many)
		synctest.Wait()
		time.Sleep(time.Millisecond)
		burst(3)
		l.Close()
		const last = time.Second + 10*time.Millisecond
		wantAt := []time.Duration{0, gatherTime, last, last + time.Millisecond, last + 2*time.Millisecond}
		wantLines := []int{1, 1000, 1, many, 3}
		if !slices.Equal(out.at, wantAt) || !slices.Equal(out.lines, wantLines) {
			t.Errorf("written after %v, %v lines; want %v, %v", out.at, out.lines, wantAt, wantLines)
		}
	})
}
