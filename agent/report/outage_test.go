package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ecsagent/agent/ecsapi"
	"ecsagent/agent/task"
)

// TestLongOutage: an hour without ECS, whatever the reason, with tasks that end and begin
// meanwhile. Afterwards everything arrives, in order, soon, and once.
func TestLongOutage(t *testing.T) {
	for name, failure := range map[string]error{
		"partition":           errors.New("dial tcp: connection timed out"),
		"5xx":                 &ecsapi.Error{Code: "ServerException", HTTPStatus: 500},
		"throttling":          &ecsapi.Error{Code: "ThrottlingException", HTTPStatus: 400},
		"expired credentials": &ecsapi.Error{Code: "ExpiredTokenException", HTTPStatus: 400},
		"access denied":       &ecsapi.Error{Code: "AccessDeniedException", HTTPStatus: 400},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				const outage = time.Hour
				api := &service{fail: func(int, *ecsapi.SubmitTaskStateChangeInput) error {
					if time.Since(begin) < outage {
						return failure
					}
					return nil
				}}
				r, store, stop := start(t, api)
				for i := range 20 {
					arn := fmt.Sprint("t", i)
					r.Observe(one(arn, task.Running, task.ContainerRunning))
					time.Sleep(time.Minute)
					r.Observe(one(arn, task.Stopped, task.ContainerStopped))
				}
				// No storm: with the longest pauses at 30 s, or 5 min after a refusal, a task is
				// tried about 130 times an hour at most.
				time.Sleep(outage - time.Since(begin))
				if calls, most := api.count(), 20*140; calls > most {
					t.Errorf("%d calls during the outage, want at most %d", calls, most)
				}
				time.Sleep(refusedMax * 13 / 10)
				stop()
				for i := range 20 {
					arn := fmt.Sprint("t", i)
					if got, want := api.of(arn), []string{"RUNNING app=RUNNING", "STOPPED app=STOPPED"}; !slices.Equal(got, want) {
						t.Errorf("%s: accepted %q, want %q", arn, got, want)
					}
					if store.sent[arn].Task != task.Stopped {
						t.Errorf("%s: recorded %+v", arn, store.sent[arn])
					}
				}
			})
		})
	}
}

// TestRefusedOlderChangeDropsNoLaterOne: ECS refuses one change for good; what comes
// after it, and the other tasks, are not affected.
func TestRefusedOlderChangeDropsNoLaterOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		refused := rapid.SampledFrom([]string{"PENDING", "RUNNING", "STOPPED"}).Draw(rt, "refused")
		synctest.Test(t, func(t *testing.T) {
			api := &service{fail: func(_ int, in *ecsapi.SubmitTaskStateChangeInput) error {
				if in.Task == "bad" && in.Status == refused {
					return &ecsapi.Error{Code: "InvalidParameterException", HTTPStatus: 400}
				}
				return nil
			}}
			r, store, stop := start(t, api)
			for _, arn := range []string{"bad", "good"} {
				for _, s := range []*task.Snapshot{one(arn, task.Running, task.ContainerRunning), one(arn, task.Stopped, task.ContainerStopped)} {
					r.Observe(s)
					synctest.Wait()
				}
			}
			time.Sleep(time.Hour)
			stop()
			all := []string{"RUNNING app=RUNNING", "STOPPED app=STOPPED"}
			if got := api.of("good"); !slices.Equal(got, all) {
				rt.Errorf("good: accepted %q", got)
			}
			want := slices.DeleteFunc(slices.Clone(all), func(line string) bool { return strings.HasPrefix(line, refused) })
			if got := api.of("bad"); !slices.Equal(got, want) {
				rt.Errorf("bad: accepted %q, want %q", got, want)
			}
			// It is recorded as ended, so that the task can be cleaned up and the next start
			// does not try again.
			if store.sent["bad"].Task != task.Stopped || store.sent["bad"].Containers["app"] != task.ContainerStopped {
				rt.Errorf("bad: recorded %+v", store.sent["bad"])
			}
		})
	})
}
