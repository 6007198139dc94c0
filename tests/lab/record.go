package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	docker "github.com/docker/docker/client"

	"ecsagent/tests/harness"
	"ecsagent/tests/proxy"
)

// Event is something that happened to a container of a site's task.
type Event struct {
	At        time.Time
	Action    string // create, start, die, destroy, ...
	ID        string
	Task      string // ARN
	Container string // name in the task
	Exit      string // of die
}

// Record is what Docker did for a cluster, as Docker itself tells it.
type Record struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	events []Event
	seen   map[Event]bool
}

// again is the pause before the events are asked for once more after their stream ended.
const again = 50 * time.Millisecond

// watch records until it is closed. A stream that ends, as with the engine, is taken up
// where it ended; what an engine has forgotten by then nobody can tell.
func watch(ctx context.Context, cli *docker.Client, cluster string) *Record {
	ctx, cancel := context.WithCancel(ctx)
	r := &Record{cancel: cancel, done: make(chan struct{}), seen: make(map[Event]bool)}
	since := time.Now()
	follow := func() {
		messages, errs := cli.Events(ctx, events.ListOptions{
			Since:   fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()),
			Filters: filters.NewArgs(filters.Arg("type", "container"), filters.Arg("label", "com.amazonaws.ecs.cluster="+cluster)),
		})
		for {
			select {
			case m := <-messages:
				r.add(m)
				since = time.Unix(0, m.TimeNano)
			case err := <-errs: // the end of the context, or of the engine
				if err != nil {
					return
				}
			}
		}
	}
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			follow()
			select {
			case <-time.After(again):
			case <-ctx.Done():
			}
		}
	}()
	return r
}

func (r *Record) add(m events.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := Event{
		At: time.Unix(0, m.TimeNano), Action: string(m.Action), ID: m.Actor.ID, Exit: m.Actor.Attributes["exitCode"],
		Task: m.Actor.Attributes[harness.LabelTaskARN], Container: m.Actor.Attributes[harness.LabelContainer],
	}
	if !r.seen[e] { // an event may come twice around the end of a stream
		r.seen[e] = true
		r.events = append(r.events, e)
	}
}

func (r *Record) close() {
	r.cancel()
	<-r.done
}

// Events returns what happened so far.
func (r *Record) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Report is a SubmitTaskStateChange that ECS has accepted.
type Report struct {
	At         time.Time
	Task       string `json:"task"`
	Status     string `json:"status"`
	Containers []struct {
		Name     string `json:"containerName"`
		Status   string `json:"status"`
		ExitCode *int   `json:"exitCode"`
	} `json:"containers"`
}

// Reports returns what ECS accepted, in order.
func Reports(p *proxy.ECS) []Report {
	var all []Report
	for _, s := range p.Submissions("SubmitTaskStateChange") {
		var r Report
		if s.Status == 200 && json.Unmarshal(s.Body, &r) == nil {
			r.At = s.At
			all = append(all, r)
		}
	}
	return all
}

// rank orders the statuses that agents report (docs/spec/01 section 1.10.1).
func rank(status string) int {
	return slices.Index([]string{"", "PENDING", "RUNNING", "STOPPED"}, status)
}

// Violations checks what must hold of the record of any run: each container of a task
// was created once and started once, nothing ran after its task was reported stopped,
// and no status that ECS accepted of a task or a container went back. A report whose answer
// was lost is repeated as it was. restarts names containers (as in the task definition) that
// may start more than once.
func Violations(happened []Event, reports []Report, restarts ...string) []string {
	var bad []string
	creates, starts := map[string][]string{}, map[string]int{}
	story := map[string]string{}
	for _, e := range happened {
		key := e.Task + " " + e.Container
		story[key] += " " + e.Action + "@" + e.At.UTC().Format("15:04:05.000")
		switch e.Action {
		case "create":
			if !slices.Contains(creates[key], e.ID) {
				creates[key] = append(creates[key], e.ID)
			}
		case "start":
			starts[key]++
		}
		if e.Task == "" || e.Container == "" {
			bad = append(bad, fmt.Sprintf("container %s belongs to no task", e.ID))
		}
	}
	for key, ids := range creates {
		if len(ids) > 1 {
			bad = append(bad, fmt.Sprintf("%s: created %d times: %v", key, len(ids), ids))
		}
	}
	for key, n := range starts {
		_, name, _ := strings.Cut(key, " ")
		if n > 1 && !slices.Contains(restarts, name) {
			bad = append(bad, fmt.Sprintf("%s: started %d times:%s", key, n, story[key]))
		}
	}
	last := map[string]string{}
	stopped := map[string]time.Time{}
	latest := map[string]Report{}
	for _, r := range reports {
		before := latest[r.Task]
		before.At = r.At
		if latest[r.Task] = r; reflect.DeepEqual(before, r) {
			continue
		}
		if r.Status != "" {
			if rank(r.Status) < rank(last[r.Task]) {
				bad = append(bad, fmt.Sprintf("%s: %s was reported after %s", r.Task, r.Status, last[r.Task]))
			}
			last[r.Task] = r.Status
			if r.Status == "STOPPED" && stopped[r.Task].IsZero() {
				stopped[r.Task] = r.At
			}
		}
		for _, c := range r.Containers {
			key := r.Task + " " + c.Name
			if rank(c.Status) < rank(last[key]) {
				bad = append(bad, fmt.Sprintf("%s: %s was reported after %s", key, c.Status, last[key]))
			}
			last[key] = c.Status
		}
	}
	for _, e := range happened {
		if at, ok := stopped[e.Task]; ok && e.Action == "start" && e.At.After(at) {
			bad = append(bad, fmt.Sprintf("%s %s: started after the task was reported stopped", e.Task, e.Container))
		}
	}
	slices.Sort(bad)
	return bad
}

// WrongExits compares the exit codes that ECS accepted with those that Docker told. A
// container that never started has none to compare. A task that was cleaned up is as good as
// unknown: a late payload that asks for its end is answered once more, without a code.
func WrongExits(happened []Event, reports []Report) []string {
	told := map[string]string{}
	for _, e := range happened {
		if e.Action == "die" {
			told[e.Task+" "+e.Container] = e.Exit
		}
	}
	var bad []string
	right := map[string]bool{}
	for _, r := range reports {
		for _, c := range r.Containers {
			key := r.Task + " " + c.Name
			want, died := told[key]
			switch {
			case c.Status != "STOPPED" || !died:
			case c.ExitCode == nil && right[key]:
			case c.ExitCode == nil:
				bad = append(bad, fmt.Sprintf("%s %s: reported without an exit code, Docker told %s", r.Task, c.Name, want))
			case fmt.Sprint(*c.ExitCode) != want:
				bad = append(bad, fmt.Sprintf("%s %s: exit code %d was reported, Docker told %s", r.Task, c.Name, *c.ExitCode, want))
			default:
				right[key] = true
			}
		}
	}
	return bad
}
