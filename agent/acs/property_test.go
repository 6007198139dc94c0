package acs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ecsagent/agent/acs"
	"ecsagent/agent/task"
)

// moody is an engine that cannot save the payloads with certain sequence numbers.
type moody struct {
	*engine
	refuses map[int64]bool
}

func (m *moody) Deliver(ctx context.Context, d task.Delivery) error {
	if m.refuses[d.Seq] {
		return errors.New("disk full")
	}
	return m.engine.Deliver(ctx, d)
}

type step struct {
	frame string
	seq   int64 // of an intact payload; 0 otherwise
	bad   int   // how many of its tasks are broken
}

func steps() *rapid.Generator[[]step] {
	one := rapid.Custom(func(t *rapid.T) step {
		seq := rapid.Int64Range(1, 40).Draw(t, "seq")
		bad := rapid.IntRange(0, 2).Draw(t, "bad")
		tasks := []string{taskJSON(fmt.Sprintf("good-%d", seq), "RUNNING", "")}
		for i := range bad {
			tasks = append(tasks, taskJSON(fmt.Sprintf("bad-%d-%d", seq, i), "RUNNING", `,"memory":"x"`))
		}
		tasks = rapid.Permutation(tasks).Draw(t, "tasks")
		frame := `{"type":"PayloadMessage","message":` + payloadJSON(fmt.Sprintf("p-%d", seq), fmt.Sprint(seq), tasks...) + `}`
		switch rapid.SampledFrom([]string{"intact", "intact", "truncated", "noise", "other"}).Draw(t, "kind") {
		case "truncated":
			return step{frame: frame[:rapid.IntRange(0, len(frame)-1).Draw(t, "length")]}
		case "noise":
			return step{frame: rapid.StringMatching(`[\[\]{}":,a-z0-9\\]{0,40}`).Draw(t, "noise")}
		case "other":
			return step{frame: rapid.SampledFrom([]string{
				`{"type":"Unheard"}`, `{"type":"PayloadMessage"}`, `{"type":"TaskManifestMessage","message":{"timeline":null}}`,
				`{"type":"TaskStopVerificationAck","message":{"messageId":"x","stopTasks":[{}]}}`, `{"type":"ErrorMessage","message":7}`,
				`{"type":"IAMRoleCredentialsMessage","message":{"messageId":"x","roleCredentials":[]}}`, `[[[[`, `{"type":"AckRequest"}`,
			}).Draw(t, "other")}
		}
		return step{frame: frame, seq: seq, bad: bad}
	})
	return rapid.SliceOfN(one, 0, 30)
}

// Whatever mixture of intact, repeated, reordered, truncated and senseless frames
// comes in: each intact payload is acknowledged exactly when it was delivered, each
// broken task is answered, and the conversation goes on.
func TestAnyFrames(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		frames := steps().Draw(rt, "frames")
		refuses := make(map[int64]bool)
		for _, seq := range rapid.SliceOfDistinct(rapid.Int64Range(1, 40), rapid.ID[int64]).Draw(rt, "refused") {
			refuses[seq] = true
		}
		var want, got []string
		rejected := 0
		for _, f := range frames {
			if f.seq != 0 && !refuses[f.seq] {
				want = append(want, fmt.Sprintf("p-%d", f.seq))
				rejected += f.bad
			}
		}
		inBubble(t, func(t *testing.T) {
			var e *engine
			b := open(t, func(o *acs.Options) {
				e = o.Engine.(*engine)
				o.Engine = &moody{e, refuses}
			})
			c := b.Accept()
			for _, f := range frames {
				c.SendRaw(f.frame)
			}
			c.Heartbeat("last")
			for {
				f := c.Next()
				if f.Type != "AckRequest" {
					if !strings.Contains(f.Raw, `"last"`) {
						rt.Errorf("agent sent %s", f.Raw)
					}
					break
				}
				var ack struct{ MessageID string }
				if err := json.Unmarshal(f.Message, &ack); err != nil {
					rt.Errorf("ack %s: %v", f.Raw, err)
				}
				got = append(got, ack.MessageID)
			}
			for _, d := range e.deliveries {
				rejected -= len(d.Rejected)
			}
			b.stop()
		})
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Errorf("acknowledged: %s", diff)
		}
		if rejected != 0 {
			rt.Errorf("%d broken tasks without an answer", rejected)
		}
	})
}
