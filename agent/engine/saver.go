package engine

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/task"
)

// Back-off of a save that the disk refused.
const (
	saveRetryMin = 100 * time.Millisecond
	saveRetryMax = 5 * time.Second
	saveJitter   = 0.2
)

// saver makes one task's snapshots durable and then shows them to the reporter, in
// order. One save is under way at a time; what gathers meanwhile is saved once. What
// the disk refuses is tried again until it is taken: until then nobody hears of it,
// and the task goes on.
type saver struct {
	e   *Engine
	arn string
	box *mailbox // of the task

	mu      sync.Mutex
	queue   []saveItem
	running bool
	// The running save's own.
	removed bool // the record is deleted
	failed  bool // the latest state did not reach the disk
	refused bool // the disk refused the last write
}

// saveItem is a snapshot to save, or with none a barrier. The answer, when wanted,
// comes once everything before it is durable, or with the error of the first
// attempt.
type saveItem struct {
	snap    *task.Snapshot
	durable bool // it is on disk already
	remove  bool // delete the record instead
	answer  func(error)
	patient bool // the answer waits until it is durable, however long
}

// savedMessage tells the task that the disk refuses its state, or takes it again.
type savedMessage struct{ err error }

func (m savedMessage) handle(a *actor) {
	a.unsaved = m.err != nil
	if m.err != nil {
		a.note(-1, task.EventSave, "not saved: "+m.err.Error())
	} else {
		a.note(-1, task.EventSave, "saved again")
	}
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
	var pending []saveItem
	wait := saveRetryMin
	for {
		s.mu.Lock()
		items := append(pending, s.queue...)
		s.queue = nil
		if len(items) == 0 {
			s.running = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if pending = s.save(items); len(pending) == 0 {
			wait = saveRetryMin
			continue
		}
		// When the engine ends, flush makes a last attempt.
		if !sleep(s.e.ctx, wait+time.Duration(float64(wait)*saveJitter*s.e.opt.Random())) {
			return
		}
		wait = min(2*wait, saveRetryMax)
	}
}

// save makes the items durable and returns those that must be tried again.
func (s *saver) save(items []saveItem) (again []saveItem) {
	for len(items) > 0 && items[0].durable {
		s.finish(&items[0])
		items = items[1:]
	}
	if err := s.write(items); err != nil {
		return s.refuse(items, err)
	}
	if s.refused {
		s.refused = false
		s.box.put(savedMessage{})
		if s.e.refusing.Add(-1) == 0 {
			s.e.log.Info("states of tasks are saved again")
		}
	}
	for i := range items {
		s.finish(&items[i])
	}
	return nil
}

// finish tells of an item that is durable.
func (s *saver) finish(it *saveItem) {
	if it.snap != nil {
		s.e.opt.Reporter.Observe(it.snap)
	}
	if it.answer != nil {
		it.answer(nil)
	}
}

// write brings the items' outcome to the disk.
func (s *saver) write(items []saveItem) (err error) {
	var latest *task.Snapshot
	remove := false
	for i := range items {
		if items[i].snap != nil {
			latest = items[i].snap
		}
		remove = remove || items[i].remove
	}
	switch {
	case s.removed:
	case remove:
		err = s.e.opt.Store.DeleteTask(s.arn)
		s.removed, s.failed = err == nil, false
	case latest != nil:
		err = s.e.opt.Store.SaveState(s.arn, latest.State)
		s.failed = err != nil
	}
	return err
}

// refuse answers those who do not want to wait and keeps the rest.
func (s *saver) refuse(items []saveItem, err error) (again []saveItem) {
	if !s.refused {
		s.refused = true
		s.box.put(savedMessage{err})
		if s.e.refusing.Add(1) == 1 {
			s.e.log.Error("state of task not saved: it is tried again, and not reported until then",
				zap.String("task", s.arn), zap.Error(err))
		}
	}
	for _, it := range items {
		if it.answer != nil && !it.patient {
			it.answer(err)
			it.answer = nil
		}
		if it.snap == nil && it.answer == nil {
			continue
		}
		if n := len(again); n > 0 && replaces(&it, &again[n-1]) {
			again[n-1] = it
			continue
		}
		again = append(again, it)
	}
	return again
}

// replaces reports whether the later item tells all that the earlier one does: that
// bounds what gathers while the disk refuses.
func replaces(later, earlier *saveItem) bool {
	if later.snap == nil || earlier.snap == nil || earlier.answer != nil {
		return false
	}
	a, b := &later.snap.State, &earlier.snap.State
	if a.Known != b.Known {
		return false
	}
	for i := range a.Containers {
		if a.Containers[i].Known != b.Containers[i].Known {
			return false
		}
	}
	return true
}
