package tcs

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"go.uber.org/zap"

	"ecsagent/agent/stats"
	"ecsagent/agent/task"
)

// addConnect adds what the Service Connect proxies of tasks have counted to a round, where
// that is due. An instance with such a task is not idle (docs/spec/01 section 4.4). Each
// question bounds itself, and none waits for another.
func (s *Session) addConnect(ctx context.Context, due bool, r *stats.Round) {
	if s.opts.Connect == nil {
		return
	}
	var asked []*task.Snapshot
	for _, t := range s.opts.Tasks.Snapshots() {
		if t.Connect == nil || t.ARN == "" || t.Family == "" || t.State.Known == task.Stopped {
			continue
		}
		r.Idle = false
		if i := t.Index(t.Connect.Container); due && i >= 0 && t.State.Containers[i].Known.IsRunning() {
			asked = append(asked, t)
		}
	}
	answers := answersOf(ctx, s.log, "metrics of a Service Connect proxy", asked, s.opts.Connect)
	for i, t := range asked {
		if len(answers[i]) == 0 {
			continue
		}
		at := slices.IndexFunc(r.Tasks, func(u stats.TaskUsage) bool { return u.ARN == t.ARN })
		if at < 0 {
			at = len(r.Tasks)
			r.Tasks = append(r.Tasks, stats.TaskUsage{ARN: t.ARN, Family: t.Family, Version: t.Version})
		}
		r.Tasks[at].Connect = answers[i]
	}
	slices.SortFunc(r.Tasks, func(a, b stats.TaskUsage) int { return cmp.Compare(a.ARN, b.ARN) })
}

// answersOf asks about all tasks at once, and waits for each answer: none waits for another.
// What comes beside an error counts too.
func answersOf[T any](ctx context.Context, log *zap.Logger, what string, asked []*task.Snapshot, ask func(context.Context, *task.Snapshot) (T, error)) []T {
	answers := make([]T, len(asked))
	var asking sync.WaitGroup
	for i, t := range asked {
		asking.Go(func() {
			var err error
			if answers[i], err = ask(ctx, t); err != nil && ctx.Err() == nil {
				log.Debug(what+" not read", zap.String("task", t.ARN), zap.Error(err))
			}
		})
	}
	asking.Wait()
	return answers
}
