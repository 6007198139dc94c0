package agentlink

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestOutbox compares an outbox with what it promises: each payload is due in order
// until it is removed, never before its resend time, and again after a rewind.
func TestOutbox(t *testing.T) {
	const resend = 10 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		var o outbox
		now := time.Unix(1000, 0)
		var live []string
		sent := map[string]time.Time{}
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(*rapid.T) {
				n++
				id := fmt.Sprint(n)
				o.add(&parcel{id: id, tasks: []string{"task-" + id}})
				live = append(live, id)
			},
			"wait": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(0, 15).Draw(t, "seconds")) * time.Second) },
			"due": func(t *rapid.T) {
				var want []string
				for _, id := range live {
					if at, ok := sent[id]; !ok || now.Sub(at) >= resend {
						want = append(want, id)
						sent[id] = now
					}
				}
				var got []string
				for _, p := range o.due(now, resend) {
					got = append(got, p.id)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("due: got %v, want %v", got, want)
				}
				if at, ok := o.next(resend); ok != (len(live) > 0) || ok && !at.After(now) {
					t.Fatalf("next: got %v %v with %d live at %v", at, ok, len(live), now)
				}
			},
			"remove": func(t *rapid.T) {
				id := fmt.Sprint(rapid.IntRange(1, n+1).Draw(t, "id"))
				i := slices.Index(live, id)
				if p := o.remove(id); (p != nil) != (i >= 0) || p != nil && p.id != id {
					t.Fatalf("remove %s: wrong answer", id)
				}
				if i >= 0 {
					live = slices.Delete(live, i, i+1)
				}
			},
			"rewind": func(*rapid.T) {
				o.rewind()
				clear(sent)
			},
			"": func(t *rapid.T) {
				for id := 1; id <= n; id++ {
					if o.carries(fmt.Sprint("task-", id)) != slices.Contains(live, fmt.Sprint(id)) {
						t.Fatalf("carries task-%d is wrong", id)
					}
				}
			},
		})
	})
}

func TestClusterARN(t *testing.T) {
	for arn, want := range map[string]string{
		"arn:aws:ecs:us-west-2:111122223333:container-instance/prod/0a1b": "arn:aws:ecs:us-west-2:111122223333:cluster/prod",
		"arn:aws:ecs:us-west-2:111122223333:container-instance/0a1b":      "named",
		"": "named",
	} {
		if got := clusterARN(arn, "named"); got != want {
			t.Errorf("clusterARN(%q) = %q, want %q", arn, got, want)
		}
	}
}
