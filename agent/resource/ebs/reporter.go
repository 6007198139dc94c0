package ebs

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/task"
)

// unstageLimit bounds how long ECS is not told that a task has stopped because a volume
// of it is not unmounted.
const unstageLimit = 30 * time.Second

// Observer hears of every change of a task.
type Observer interface {
	Observe(s *task.Snapshot)
}

// Reporter tells of a task that has stopped only when its volumes are unmounted: ECS
// detaches them then.
type Reporter struct {
	ctx    context.Context // of the agent: what is not unmounted when it ends is so after the next start
	next   Observer
	stager Stager
	log    *zap.Logger
	work   sync.WaitGroup

	mu   sync.Mutex
	held map[string]*task.Snapshot // by task: the newest of those whose volumes are being unmounted
}

// NewReporter stands before an Observer.
func NewReporter(ctx context.Context, next Observer, stager Stager, log *zap.Logger) *Reporter {
	return &Reporter{ctx: ctx, next: next, stager: stager, log: log, held: make(map[string]*task.Snapshot)}
}

// Observe implements engine.Reporter.
func (r *Reporter) Observe(s *task.Snapshot) {
	if s.State.Known != task.Stopped || len(volumesOf(s.Spec)) == 0 || s.State.Rejected() {
		r.next.Observe(s)
		return
	}
	r.mu.Lock()
	_, busy := r.held[s.ARN]
	r.held[s.ARN] = s
	r.mu.Unlock()
	if !busy {
		r.work.Go(func() { r.unstage(s) })
	}
}

func (r *Reporter) unstage(s *task.Snapshot) {
	ctx, cancel := context.WithTimeout(r.ctx, unstageLimit)
	defer cancel()
	for _, v := range volumesOf(s.Spec) {
		if err := r.stager.Unstage(ctx, v.Name); err != nil {
			if r.ctx.Err() != nil {
				return
			}
			r.log.Error("volume of a stopped task not unmounted, it is tried again at the clean-up",
				zap.String("task", s.ARN), zap.String("volume", v.VolumeID), zap.Error(err))
		}
	}
	for told := (*task.Snapshot)(nil); ; {
		r.mu.Lock()
		latest := r.held[s.ARN]
		if latest == told {
			delete(r.held, s.ARN)
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		r.next.Observe(latest)
		told = latest
	}
}

// Wait waits for what is being unmounted.
func (r *Reporter) Wait() { r.work.Wait() }
