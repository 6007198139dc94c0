package awsenv_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/awsenv/awsenvtest"
)

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func reply(status int, body io.Reader) (*http.Response, error) {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(body)}, nil
}

type refusal struct {
	status    int
	retryable bool
}

func (r *refusal) Error() string   { return fmt.Sprintf("refused with %d", r.status) }
func (r *refusal) Retryable() bool { return r.retryable }

func decode(status int, _ http.Header, body []byte) error {
	if status != http.StatusOK {
		return &refusal{status, status >= 500}
	}
	return nil
}

func newCaller(t transport) *awsenv.Caller {
	return &awsenv.Caller{
		Service: "ecs", Region: "us-west-2", Endpoint: "http://ecs.test", Credentials: awsenvtest.Credentials("token"),
		Client: &http.Client{Transport: t}, UserAgent: "agent", Log: zap.NewNop(),
		Backoff: func(attempt int) time.Duration { return time.Duration(attempt) * time.Second },
	}
}

func TestCallerRepeatsWhatMayPass(t *testing.T) {
	reset := errors.New("connection reset by peer")
	tests := []struct {
		name     string
		answers  []any // status or error, the last one repeats
		attempts int
		want     int // attempts made
		wait     time.Duration
		err      string
	}{
		{"success", []any{200}, 0, 1, 0, ""},
		{"three attempts unless told", []any{500}, 0, 3, 3 * time.Second, "call ecs Op: refused with 500"},
		{"recovers", []any{503, reset, 200}, 0, 3, 3 * time.Second, ""},
		{"refused for good", []any{400}, 0, 1, 0, "call ecs Op: refused with 400"},
		{"told to try once", []any{500}, 1, 1, 0, "refused with 500"},
		{"told to try five times", []any{500}, 5, 5, 10 * time.Second, "refused with 500"},
		{"untrusted server", []any{&tls.CertificateVerificationError{Err: errors.New("unknown authority")}}, 0, 1, 0, "unknown authority"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen []string
				caller := newCaller(func(r *http.Request) (*http.Response, error) {
					answer := tt.answers[min(len(seen), len(tt.answers)-1)]
					seen = append(seen, r.Header.Get("Amz-Sdk-Request")+" "+r.Header.Get("Amz-Sdk-Invocation-Id"))
					if err, ok := answer.(error); ok {
						return nil, err
					}
					return reply(answer.(int), strings.NewReader("{}"))
				})
				caller.Attempts = tt.attempts
				start := time.Now()
				err := caller.Do(t.Context(), awsenv.Call{Operation: "Op", Body: []byte("{}"), Decode: decode})
				if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				if len(seen) != tt.want || time.Since(start) != tt.wait {
					t.Fatalf("%d attempts in %v, want %d in %v", len(seen), time.Since(start), tt.want, tt.wait)
				}
				allowed := max(tt.attempts, 1)
				if tt.attempts == 0 {
					allowed = awsenv.StandardAttempts
				}
				_, id, _ := strings.Cut(strings.TrimPrefix(seen[0], "attempt="), " max=")
				_, id, _ = strings.Cut(id, " ")
				for i, s := range seen {
					if want := fmt.Sprintf("attempt=%d; max=%d %s", i+1, allowed, id); s != want || id == "" {
						t.Errorf("attempt %d carries %q, want %q", i+1, s, want)
					}
				}
			})
		})
	}
}

func TestCallerStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		calls := 0
		caller := newCaller(func(*http.Request) (*http.Response, error) { calls++; return reply(500, strings.NewReader("")) })
		caller.Attempts = 100
		err := caller.Do(ctx, awsenv.Call{Operation: "Op", Decode: decode})
		var r *refusal
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &r) || calls != 2 {
			t.Errorf("error %v after %d calls, want the deadline and the last refusal after 2", err, calls)
		}
	})
}

func TestCallerBoundsReplies(t *testing.T) {
	calls := 0
	caller := newCaller(func(*http.Request) (*http.Response, error) {
		calls++
		return reply(200, bytes.NewReader(make([]byte, 5<<20)))
	})
	err := caller.Do(t.Context(), awsenv.Call{Operation: "Op", Decode: decode})
	if err == nil || !strings.Contains(err.Error(), "longer than") || calls != 1 {
		t.Errorf("error %v after %d calls", err, calls)
	}
}

func TestCallerDoesNotRepeatWithoutCredentials(t *testing.T) {
	caller := newCaller(func(*http.Request) (*http.Response, error) { t.Error("sent unsigned"); return nil, io.EOF })
	caller.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New("none here")
	})
	err := caller.Do(t.Context(), awsenv.Call{Operation: "Op", Decode: decode})
	if err == nil || !strings.Contains(err.Error(), "get credentials: none here") {
		t.Errorf("error %v", err)
	}
}

func TestStandardBackoff(t *testing.T) {
	for attempt, limit := range map[int]time.Duration{1: 2 * time.Second, 2: 4 * time.Second, 4: 16 * time.Second, 5: 20 * time.Second, 400: 20 * time.Second} {
		for range 50 {
			if d := awsenv.StandardBackoff(attempt); d < 0 || d >= limit {
				t.Fatalf("delay after attempt %d is %v, want below %v", attempt, d, limit)
			}
		}
	}
}

func TestAttemptsFrom(t *testing.T) {
	for value, want := range map[string]int{"": 3, "7": 7, "0": 3, "-1": 3, "many": 3} {
		if got := awsenv.AttemptsFrom(func(string) string { return value }, 3); got != want {
			t.Errorf("AWS_MAX_ATTEMPTS=%q gives %d, want %d", value, got, want)
		}
	}
}
