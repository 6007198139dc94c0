package introspection

import (
	"net/http"
	"strings"
	"time"

	"ecsagent/agent/task"
)

// Paths of what the agent tells of its tasks besides what docs/spec/04 lists. A task
// is named by its ARN or its id.
const (
	waitsPath      = "/v1/tasks/waits"
	timelinePrefix = "/v1/tasks/"
	timelineSuffix = "/timeline"
)

// Waits is the body of /v1/tasks/waits: what each task waits for.
type Waits struct{ Tasks []TaskWaits }

// TaskWaits is what a task waits for.
type TaskWaits struct {
	Arn           string
	Family        string
	Version       string
	KnownStatus   string
	DesiredStatus string
	Since         time.Time // of the known status
	Waits         []Wait
}

// Timeline is the body of /v1/tasks/<ARN or id>/timeline.
type Timeline struct {
	TaskWaits
	Timeline []Entry
}

// Wait is a present wait. Container is empty when the task as a whole waits.
type Wait struct {
	Container string
	For       string
	Detail    string
	Since     time.Time
}

// Entry is something that happened.
type Entry struct {
	At        time.Time
	Container string
	Event     string
	Detail    string
}

// problem is the body of an answer that is no success.
type problem struct{ Error string }

func (o Options) waits(w http.ResponseWriter, _ *http.Request) {
	body := Waits{Tasks: []TaskWaits{}}
	for _, t := range o.Tasks.Timelines() {
		body.Tasks = append(body.Tasks, renderWaits(t))
	}
	reply(w, http.StatusOK, body)
}

// timelineOf returns the name of the task whose timeline the path asks for; empty
// when it asks for something else. An ARN contains slashes.
func timelineOf(path string) string {
	name, ok := strings.CutPrefix(path, timelinePrefix)
	if !ok {
		return ""
	}
	if name, ok = strings.CutSuffix(name, timelineSuffix); !ok {
		return ""
	}
	return name
}

func (o Options) timeline(w http.ResponseWriter, name string) {
	t := o.Tasks.Timeline(o.arnOf(name))
	if t == nil {
		reply(w, http.StatusNotFound, problem{Error: "no such task: " + name})
		return
	}
	body := Timeline{TaskWaits: renderWaits(t), Timeline: []Entry{}}
	for _, e := range t.Entries {
		e.At = e.At.UTC()
		body.Timeline = append(body.Timeline, Entry(e))
	}
	reply(w, http.StatusOK, body)
}

// arnOf finds the task with the id; anything else is taken for an ARN.
func (o Options) arnOf(name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	for _, s := range o.Tasks.Snapshots() {
		if s.ID() == name {
			return s.ARN
		}
	}
	return name
}

func renderWaits(t *task.Timeline) TaskWaits {
	body := TaskWaits{
		Arn: t.ARN, Family: t.Family, Version: t.Version, Since: t.Since.UTC(),
		KnownStatus: t.State.Known.String(), DesiredStatus: t.State.Desired.String(), Waits: []Wait{},
	}
	for _, w := range t.Waits {
		w.Since = w.Since.UTC()
		body.Waits = append(body.Waits, Wait(w))
	}
	return body
}
