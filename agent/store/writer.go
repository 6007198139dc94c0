package store

import (
	"bytes"
	"fmt"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"
)

// write is a set of changes that is committed as a whole.
type write struct {
	puts   []put
	result chan error
}

// put sets a key, or deletes it when value is nil.
type put struct {
	bucket, key, value []byte
}

// write hands the changes to the writer and waits until they are on disk.
func (s *Store) write(puts []put) error {
	if len(puts) == 0 {
		return nil
	}
	w, err := s.enqueue(puts)
	if err != nil {
		return err
	}
	s.signal()
	return <-w.result
}

// enqueue adds changes to those that the writer takes next.
func (s *Store) enqueue(puts []put) (*write, error) {
	w := &write{puts: puts, result: make(chan error, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.queue = append(s.queue, w)
	return w, nil
}

func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run commits what has gathered, until the store is closed and the queue is empty.
func (s *Store) run() {
	defer close(s.done)
	for range s.wake {
		for {
			s.mu.Lock()
			batch, closed := s.queue, s.closed
			s.queue = nil
			s.mu.Unlock()
			if len(batch) == 0 {
				if closed {
					return
				}
				break
			}
			err := s.commit(batch)
			if err != nil {
				s.log.Error("state not saved", zap.Int("writes", len(batch)), zap.Error(err))
			}
			for _, w := range batch {
				w.result <- err
			}
		}
	}
}

// commit writes the batch in one transaction, unless it changes nothing.
func (s *Store) commit(batch []*write) error {
	changed, err := s.changes(batch)
	if err != nil || len(changed) == 0 {
		return err
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		for _, p := range changed {
			bucket := tx.Bucket(p.bucket)
			if p.value == nil {
				if err := bucket.Delete(p.key); err != nil {
					return err
				}
			} else if err := bucket.Put(p.key, p.value); err != nil {
				return fmt.Errorf("put %s %s: %w", p.bucket, p.key, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write state file: %w", err)
	}
	return nil
}

// changes keeps the last put of each key, and only those that change the file.
func (s *Store) changes(batch []*write) ([]put, error) {
	type id struct{ bucket, key string }
	last := make(map[id]put)
	var order []id
	for _, w := range batch {
		for _, p := range w.puts {
			k := id{string(p.bucket), string(p.key)}
			if _, seen := last[k]; !seen {
				order = append(order, k)
			}
			last[k] = p
		}
	}
	var changed []put
	err := s.db.View(func(tx *bolt.Tx) error {
		for _, k := range order {
			p := last[k]
			if !bytes.Equal(tx.Bucket(p.bucket).Get(p.key), p.value) {
				changed = append(changed, p)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read state file: %w", err)
	}
	return changed, nil
}
