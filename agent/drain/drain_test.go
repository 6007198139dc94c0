package drain

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/ecsapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ec2 is instance metadata and the ECS API.
type ec2 struct {
	mu    sync.Mutex
	paths map[string]string
	errs  []error // of the calls; nil ones succeed
	fails []ecsapi.Failure
	calls []string
	looks int
}

func (e *ec2) Get(_ context.Context, path string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looks++
	text, ok := e.paths[path]
	switch {
	case !ok:
		return "", awsenv.ErrNotFound
	case text == "broken":
		return "", errors.New("connection refused")
	}
	return text, nil
}

func (e *ec2) set(path, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.paths[path] = text
}

func (e *ec2) UpdateContainerInstancesState(_ context.Context, in *ecsapi.UpdateContainerInstancesStateInput) (*ecsapi.UpdateContainerInstancesStateOutput, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, in.Cluster+" "+strings.Join(in.ContainerInstances, ",")+" "+in.Status)
	if n := len(e.calls) - 1; n < len(e.errs) && e.errs[n] != nil {
		return nil, e.errs[n]
	}
	out := &ecsapi.UpdateContainerInstancesStateOutput{}
	if len(e.calls) <= len(e.fails) {
		out.Failures = e.fails[len(e.calls)-1:][:1]
	}
	return out, nil
}

func play(t *testing.T, e *ec2, story func()) *observer.ObservedLogs {
	core, logs := observer.New(zap.InfoLevel)
	e.paths = map[string]string{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = Run(ctx, Options{
				Metadata: e, API: e, Log: zap.New(core),
				Cluster: func() string { return "c" }, InstanceARN: func() string { return "arn:ci" },
			})
		}()
		story()
		cancel()
		<-done
	})
	return logs
}

func TestNotices(t *testing.T) {
	for _, tt := range []struct {
		name, path, text string
		drains           bool
	}{
		{"terminate", interruptionPath, `{"action":"terminate","time":"2026-01-02T03:04:05Z"}`, true},
		{"keys in another case", interruptionPath, `{"Action":"stop","TIME":"x"}`, true},
		{"hibernate", interruptionPath, `{"action":"hibernate"}`, true},
		{"unknown action", interruptionPath, `{"action":"dance"}`, false},
		{"not JSON", interruptionPath, `terminate`, false},
		{"does not answer", interruptionPath, `broken`, false},
		{"rebalance", rebalancePath, `{"noticeTime":"2026-01-02T03:04:05Z"}`, true},
		{"rebalance without a time", rebalancePath, `{}`, false},
		{"rebalance that is not JSON", rebalancePath, `<html>`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := &ec2{}
			logs := play(t, e, func() {
				time.Sleep(10 * time.Second)
				if len(e.calls) != 0 {
					t.Error("drained without a notice")
				}
				e.set(tt.path, tt.text)
				time.Sleep(10 * time.Second)
			})
			if drained := slices.Equal(e.calls, []string{"c arn:ci DRAINING"}); drained != tt.drains || !tt.drains && len(e.calls) > 0 {
				t.Errorf("calls %q", e.calls)
			}
			if n := logs.Len(); n > 1 {
				t.Errorf("%d lines in the log: %v", n, logs.All())
			}
		})
	}
}

func TestCallIsRepeatedUntilItSucceeds(t *testing.T) {
	e := &ec2{errs: []error{errors.New("throttled"), errors.New("throttled")}, fails: []ecsapi.Failure{{}, {}, {ARN: "arn:ci", Reason: "MISSING"}}}
	play(t, e, func() {
		e.set(interruptionPath, `{"action":"terminate"}`)
		time.Sleep(time.Minute)
	})
	if len(e.calls) != 4 {
		t.Errorf("%d calls, want 4: two errors, a failure, success", len(e.calls))
	}
	looks := e.looks
	if looks > 10 {
		t.Errorf("%d looks: the watch goes on after it succeeded", looks)
	}
}

func FuzzNotice(f *testing.F) {
	f.Add(`{"action":"terminate","time":"x"}`)
	f.Add(`{"noticeTime":"x"}`)
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := interruption(text); (n == "") == (err == nil) {
			t.Errorf("%q, %v", n, err)
		}
		if n, err := rebalance(text); (n == "") == (err == nil) {
			t.Errorf("%q, %v", n, err)
		}
	})
}
