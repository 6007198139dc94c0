package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/local/client"
)

// follower waits for tasks and shows a line for each status that it sees.
type follower struct {
	app     *app
	started time.Time
	shown   map[string]string // last shown status by ARN
}

func (a *app) follower() *follower {
	return &follower{app: a, started: time.Now(), shown: make(map[string]string)}
}

// until waits until done is true for every task and returns them as they are then,
// or as they were last seen with an error. The events must have been opened before
// the tasks were read, so that nothing is missed; the tasks' versions tell what is
// old.
func (f *follower) until(ctx context.Context, events *client.Events, tasks []api.Task, done func(*api.Task) bool) ([]api.Task, error) {
	place := make(map[string]int, len(tasks))
	open := 0
	for i := range tasks {
		place[tasks[i].TaskARN] = i
		f.show(&tasks[i])
		if !done(&tasks[i]) {
			open++
		}
	}
	for open > 0 {
		e, err := events.Next()
		if ctx.Err() != nil {
			return tasks, ctx.Err()
		}
		if err != nil {
			return tasks, fmt.Errorf("%w: %w", errServerEnded, err)
		}
		i, mine := place[e.ARN]
		if !mine || e.Task == nil || e.Task.Version <= tasks[i].Version {
			continue
		}
		was := done(&tasks[i])
		tasks[i] = *e.Task
		f.show(&tasks[i])
		if !was && done(&tasks[i]) {
			open--
		}
	}
	return tasks, nil
}

// show prints a line for a status that has not been shown.
func (f *follower) show(t *api.Task) {
	status := t.LastStatus
	if f.shown[t.TaskARN] == status {
		return
	}
	f.shown[t.TaskARN] = status
	if f.app.output == "json" {
		return
	}
	line := fmt.Sprintf("%6.1fs  %s  %-20s  %-14s", time.Since(f.started).Seconds(), short(t.TaskARN), definition(t), status)
	f.app.printf("%s\n", strings.TrimRight(line+"  "+note(t, status), " "))
}

// note is what a person wants to know of a status.
func note(t *api.Task, status string) string {
	var parts []string
	switch status {
	case api.StatusRunning:
		for _, c := range t.Containers {
			if p := ports(&c); p != "" {
				parts = append(parts, c.Name+" "+p)
			}
		}
	case api.StatusStopped:
		if t.StoppedReason != "" {
			parts = append(parts, t.StoppedReason)
		}
		for _, c := range t.Containers {
			if n := containerNote(&c); n != "" {
				parts = append(parts, c.Name+" "+n)
			}
		}
	}
	return strings.Join(parts, "; ")
}
