package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"
	"pgregory.net/rapid"

	"ecsagent/agent/ecsapi"
	"ecsagent/agent/task"
)

// service is an ECS that fails as told and remembers what it accepted.
type service struct {
	mu       sync.Mutex
	accepted []string // "task status container=status ..."
	calls    int
	inFlight int
	most     int
	delay    time.Duration
	fail     func(call int, in *ecsapi.SubmitTaskStateChangeInput) error
}

// count is how often it was called.
func (s *service) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *service) SubmitTaskStateChange(ctx context.Context, in *ecsapi.SubmitTaskStateChangeInput) (*ecsapi.SubmitTaskStateChangeOutput, error) {
	s.mu.Lock()
	s.calls++
	call := s.calls
	s.inFlight++
	s.most = max(s.most, s.inFlight)
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.inFlight--; s.mu.Unlock() }()
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.fail != nil {
		if err := s.fail(call, in); err != nil {
			return nil, err
		}
	}
	line := in.Task + " " + in.Status
	for _, c := range in.Containers {
		line += " " + c.ContainerName + "=" + c.Status
	}
	for _, a := range in.Attachments {
		line += " " + a.AttachmentARN + "=" + a.Status
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted = append(s.accepted, line)
	return &ecsapi.SubmitTaskStateChangeOutput{}, nil
}

func (s *service) SubmitAttachmentStateChanges(_ context.Context, in *ecsapi.SubmitAttachmentStateChangesInput) (*ecsapi.SubmitAttachmentStateChangesOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted = append(s.accepted, "instance "+in.Attachments[0].AttachmentARN)
	return &ecsapi.SubmitAttachmentStateChangesOutput{}, nil
}

func (s *service) of(arn string) (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.accepted {
		if rest, ok := strings.CutPrefix(line, arn+" "); ok {
			lines = append(lines, rest)
		}
	}
	return lines
}

type sentStore struct {
	mu   sync.Mutex
	sent map[string]task.Sent
}

func (s *sentStore) SaveSent(arn string, sent task.Sent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[arn] = sent
	return nil
}

// start runs a Reporter within the bubble of the test.
func start(t *testing.T, api API) (*Reporter, *sentStore, func()) {
	store := &sentStore{sent: map[string]task.Sent{}}
	r := New(Options{API: api, Store: store, Cluster: func() string { return "c" }, Log: zaptest.NewLogger(t)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx) }()
	return r, store, func() { cancel(); <-done }
}

func one(arn string, known task.Status, container task.ContainerStatus) *task.Snapshot {
	return &task.Snapshot{
		Spec:  &task.Spec{ARN: arn, Containers: []task.Container{{Name: "app", Image: "app:1", Essential: true}}},
		State: task.State{Known: known, Containers: []task.ContainerState{{Known: container}}},
	}
}

func TestChangesArriveInOrderThroughFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &service{fail: func(call int, _ *ecsapi.SubmitTaskStateChangeInput) error {
			switch call {
			case 1:
				return errors.New("connection reset")
			case 2, 3:
				return &ecsapi.Error{Code: "ThrottlingException", HTTPStatus: 400}
			case 5:
				return &ecsapi.Error{Code: "AccessDeniedException", HTTPStatus: 400}
			}
			return nil
		}}
		r, store, stop := start(t, api)
		r.Observe(one("t", task.Running, task.ContainerRunning))
		r.Observe(one("t", task.Stopped, task.ContainerStopped))
		r.Observe(one("t", task.Stopped, task.ContainerStopped))
		time.Sleep(time.Hour)
		stop()
		want := []string{"RUNNING app=RUNNING", "STOPPED app=STOPPED"}
		if got := api.of("t"); !slices.Equal(got, want) {
			t.Errorf("accepted %q, want %q", got, want)
		}
		if got := store.sent["t"]; got.Task != task.Stopped || got.Containers["app"] != task.ContainerStopped {
			t.Errorf("recorded %+v", got)
		}
		if api.calls != 6 {
			t.Errorf("%d calls, want 6", api.calls)
		}
	})
}

func TestRefusalForGoodEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &service{fail: func(_ int, in *ecsapi.SubmitTaskStateChangeInput) error {
			if in.Status == "RUNNING" {
				return &ecsapi.Error{Code: "InvalidParameterException", HTTPStatus: 400}
			}
			return nil
		}}
		r, store, stop := start(t, api)
		r.Observe(one("t", task.Running, task.ContainerRunning))
		r.Observe(one("t", task.Stopped, task.ContainerStopped))
		synctest.Wait()
		stop()
		if got := api.of("t"); !slices.Equal(got, []string{"STOPPED app=STOPPED"}) {
			t.Errorf("accepted %q", got)
		}
		if store.sent["t"].Task != task.Stopped || api.calls != 2 {
			t.Errorf("recorded %+v after %d calls", store.sent["t"], api.calls)
		}
	})
}

func TestContainerChangeWaitsForItsRide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &service{}
		r, _, stop := start(t, api)
		two := func(known task.Status, app, side task.ContainerStatus) *task.Snapshot {
			s := one("t", known, app)
			s.Spec.Containers = append(s.Spec.Containers, task.Container{Name: "side"})
			s.State.Containers = append(s.State.Containers, task.ContainerState{Known: side})
			return s
		}
		r.Observe(two(task.Created, task.ContainerCreated, task.ContainerRunning))
		time.Sleep(drainMin - time.Second)
		if len(api.of("t")) != 0 {
			t.Error("a container change was sent at once")
		}
		r.Observe(two(task.Running, task.ContainerRunning, task.ContainerRunning))
		synctest.Wait()
		r.Observe(two(task.Running, task.ContainerRunning, task.ContainerStopped))
		time.Sleep(drainMin + drainSpread)
		stop()
		want := []string{"RUNNING side=RUNNING app=RUNNING", "RUNNING side=STOPPED"}
		if got := api.of("t"); !slices.Equal(got, want) {
			t.Errorf("accepted %q, want %q", got, want)
		}
	})
}

// The containers of a task that stops for a cause of its own are not told of before it.
func TestCauseComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &service{}
		r, _, stop := start(t, api)
		ending := func(known task.Status, app task.ContainerStatus) *task.Snapshot {
			s := one("t", known, app)
			s.State.Desired, s.State.TerminalReason = task.Stopped, "the cause"
			return s
		}
		r.Observe(one("t", task.Running, task.ContainerRunning))
		r.Observe(ending(task.Running, task.ContainerStopped))
		time.Sleep(2 * (drainMin + drainSpread))
		if got := api.of("t"); len(got) != 1 {
			t.Errorf("accepted %q before the end", got)
		}
		r.Observe(ending(task.Stopped, task.ContainerStopped))
		synctest.Wait()
		stop()
		if want, got := []string{"RUNNING app=RUNNING", "STOPPED app=STOPPED"}, api.of("t"); !slices.Equal(got, want) {
			t.Errorf("accepted %q, want %q", got, want)
		}
	})
}

func TestAtMostTenInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &service{delay: time.Second}
		r, _, stop := start(t, api)
		for i := range 35 {
			r.Observe(one(fmt.Sprint("t", i), task.Running, task.ContainerRunning))
		}
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		api.mu.Lock()
		defer stop()
		defer api.mu.Unlock()
		if api.most != maxInFlight || len(api.accepted) != 30 {
			t.Errorf("%d in flight, %d accepted after 3.5 s", api.most, len(api.accepted))
		}
	})
}

func TestOneFailingTaskDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &service{fail: func(_ int, in *ecsapi.SubmitTaskStateChangeInput) error {
			if strings.HasPrefix(in.Task, "bad") {
				return &ecsapi.Error{Code: "ClientException", HTTPStatus: 400}
			}
			return nil
		}}
		r, _, stop := start(t, api)
		for i := range 30 {
			r.Observe(one(fmt.Sprint("bad", i), task.Running, task.ContainerRunning))
		}
		synctest.Wait()
		r.Observe(one("good", task.Running, task.ContainerRunning))
		synctest.Wait()
		if len(api.of("good")) != 1 {
			t.Error("the good task waits behind the bad ones")
		}
		stop()
	})
}

func TestRestoredTaskRepeatsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &service{}
		r, _, stop := start(t, api)
		r.Restore("t", task.Sent{Task: task.Running, Containers: map[string]task.ContainerStatus{"app": task.ContainerRunning}})
		r.Observe(one("t", task.Running, task.ContainerRunning))
		synctest.Wait()
		if len(api.accepted) != 0 {
			t.Errorf("repeated %q", api.accepted)
		}
		r.Observe(one("t", task.Stopped, task.ContainerStopped))
		synctest.Wait()
		stop()
		if got := api.of("t"); !slices.Equal(got, []string{"STOPPED app=STOPPED"}) {
			t.Errorf("accepted %q", got)
		}
	})
}

func TestConfirmAttachment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &service{fail: func(call int, _ *ecsapi.SubmitTaskStateChangeInput) error {
			if call < 3 {
				return errors.New("no route")
			}
			return nil
		}}
		r, _, stop := start(t, api)
		defer stop()
		deadline := time.Now().Add(time.Minute)
		if err := r.Confirm(t.Context(), Attachment{ARN: "a1", TaskARN: "t", Deadline: deadline}); err != nil {
			t.Error(err)
		}
		if err := r.Confirm(t.Context(), Attachment{ARN: "a2", Deadline: deadline}); err != nil {
			t.Error(err)
		}
		api.fail = func(int, *ecsapi.SubmitTaskStateChangeInput) error { return errors.New("no route") }
		if err := r.Confirm(t.Context(), Attachment{ARN: "a3", TaskARN: "t", Deadline: deadline}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v after the deadline", err)
		}
		if want := []string{"t  a1=ATTACHED", "instance a2"}; !slices.Equal(api.accepted, want) {
			t.Errorf("accepted %q, want %q", api.accepted, want)
		}
	})
}

// Whatever fails, and at whatever moment the agent is restarted, the statuses that ECS
// accepts of a task never go back, and the last one arrives.
func TestNothingIsLostOrReversed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		failures := rapid.SliceOfN(rapid.IntRange(0, 3), 1, 12).Draw(rt, "failures")
		restartAfter := rapid.IntRange(0, 3).Draw(rt, "restartAfter")
		synctest.Test(t, func(t *testing.T) {
			api := &service{delay: 10 * time.Millisecond}
			api.fail = func(call int, _ *ecsapi.SubmitTaskStateChangeInput) error {
				if call > len(failures) {
					return nil
				}
				return []error{nil, errors.New("reset"), &ecsapi.Error{Code: "ServerException", HTTPStatus: 500}, &ecsapi.Error{Code: "ExpiredTokenException", HTTPStatus: 400}}[failures[call-1]]
			}
			steps := []*task.Snapshot{
				one("t", task.None, task.ContainerNone), one("t", task.Running, task.ContainerRunning), one("t", task.Stopped, task.ContainerStopped),
			}
			r, store, stop := start(t, api)
			for i, s := range steps {
				if i == restartAfter {
					time.Sleep(15 * time.Millisecond)
					stop()
					sent := store.sent["t"]
					r, store, stop = start(t, api)
					r.Restore("t", sent)
				}
				r.Observe(s)
			}
			time.Sleep(time.Hour)
			stop()
			got := api.of("t")
			if len(got) == 0 || got[len(got)-1] != "STOPPED app=STOPPED" {
				rt.Fatalf("accepted %q: the end is missing", got)
			}
			for i, line := range got {
				if i < len(got)-1 && strings.HasPrefix(line, "STOPPED") {
					rt.Fatalf("accepted %q: something came after the end, or twice", got)
				}
			}
		})
	})
}
