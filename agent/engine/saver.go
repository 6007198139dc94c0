package engine

import (
	"sync"

	"go.uber.org/zap"

	"ecsagent/agent/task"
)

// saver makes one task's snapshots durable and then shows them to the reporter, in
// order. One save is under way at a time; what gathers meanwhile is saved once.
type saver struct {
	e   *Engine
	arn string

	mu      sync.Mutex
	queue   []saveItem
	running bool
	// The running save's own.
	removed bool // the record is deleted
	failed  bool // the last save did not reach the disk
}

// saveItem is a snapshot to save, or with none a barrier. The answer, when wanted,
// comes once everything before it is durable.
type saveItem struct {
	snap    *task.Snapshot
	durable bool // it is on disk already
	remove  bool // delete the record instead
	answer  func(error)
}

func (s *saver) add(item saveItem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, item)
	if !s.running {
		s.running = true
		s.e.workers.Go(s.run)
	}
}

func (s *saver) run() {
	for {
		s.mu.Lock()
		items := s.queue
		s.queue = nil
		if len(items) == 0 {
			s.running = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.save(items)
	}
}

func (s *saver) save(items []saveItem) {
	var latest *task.Snapshot
	remove := false
	for _, it := range items {
		if it.snap != nil && !it.durable {
			latest = it.snap
		}
		remove = remove || it.remove
	}
	var err error
	switch {
	case s.removed:
	case remove:
		s.removed = true
		err = s.e.opt.Store.DeleteTask(s.arn)
	case latest != nil:
		err = s.e.opt.Store.SaveState(s.arn, latest.State)
	}
	if remove || latest != nil {
		s.failed = err != nil && !s.removed
	}
	if err != nil {
		// The task runs, so ECS must hear of it all the same: after a crash its state
		// is found again in Docker.
		s.e.log.Error("state of task not saved", zap.String("task", s.arn), zap.Error(err))
	}
	for _, it := range items {
		if it.snap != nil {
			s.e.opt.Reporter.Observe(it.snap)
		}
		if it.answer != nil {
			it.answer(err)
		}
	}
}
