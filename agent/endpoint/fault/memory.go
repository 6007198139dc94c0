package fault

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"

	"go.uber.org/zap"
)

// made is a fault that was made.
type made struct {
	TaskARN string
	Place   Place
	Spec    Spec
}

// memory is the file of faults that were made and not taken away yet.
type memory struct {
	path string
	log  *zap.Logger
	mu   sync.Mutex // also held while writing, which is rare and small
	list []made
}

func openMemory(path string, log *zap.Logger) *memory {
	m := &memory{path: path, log: log}
	if path == "" {
		return m
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m
	}
	if err == nil {
		err = json.Unmarshal(data, &m.list)
	}
	if err != nil {
		log.Error("faults of the last run not known", zap.Error(err))
		m.list = nil
	}
	return m
}

func (m *memory) all() []made {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.list)
}

func (m *memory) add(arn string, p *Place, s *Spec) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, made{arn, *p, *s})
	m.save()
}

// drop forgets faults of the kind at the place, for a blackhole of the same chain.
func (m *memory) drop(arn string, p *Place, s *Spec) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.list)
	m.list = slices.DeleteFunc(m.list, func(f made) bool {
		return f.TaskARN == arn && f.Spec.Kind == s.Kind && reflect.DeepEqual(f.Place, *p) && (s.Kind != Blackhole || chain(&f.Spec) == chain(s))
	})
	if len(m.list) != before {
		m.save()
	}
}

// save replaces the file. It needs the lock.
func (m *memory) save() {
	if m.path == "" {
		return
	}
	if err := m.write(); err != nil {
		m.log.Error("faults not remembered: they stay should the agent end", zap.Error(err))
	}
}

func (m *memory) write() error {
	if len(m.list) == 0 {
		err := os.Remove(m.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	data, err := json.Marshal(m.list)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(m.path), filepath.Base(m.path)+".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), m.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Ended tells that a task has ended: its faults are taken away. It does not wait.
func (h *Handler) Ended(arn string) {
	h.mu.Lock()
	h.ended[arn] = true
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Run takes faults away: those of the last run at once, whatever became of their tasks,
// and those of tasks that end.
func (h *Handler) Run(ctx context.Context) error {
	for _, f := range h.memory.all() {
		h.remove(ctx, f)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.wake:
		}
		h.mu.Lock()
		ended := h.ended
		h.ended = make(map[string]bool)
		h.mu.Unlock()
		for _, f := range h.memory.all() {
			if ended[f.TaskARN] {
				h.remove(ctx, f)
			}
		}
	}
}

// remove takes one fault away, together with its namespace where that is gone.
func (h *Handler) remove(ctx context.Context, f made) {
	if f.Place.gone() {
		h.memory.drop(f.TaskARN, &f.Place, &f.Spec)
		return
	}
	if _, p := h.perform(ctx, f.TaskARN, &f.Place, &f.Spec, opStop); p != nil {
		h.o.Log.Error("fault of an ended task not taken away", zap.String("task", f.TaskARN), zap.String("fault", string(f.Spec.Kind)), zap.String("problem", p.text))
	}
}
