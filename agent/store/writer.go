package store

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"

	"ecsagent/agent/failpoint"
)

// reopenPause is how long a file that could not be written to is left alone.
const reopenPause = time.Second

// errReadOnly is the answer to writes to a file that could not be opened for writing.
var errReadOnly = errors.New("state file cannot be written to")

// write is a set of changes that is committed as a whole.
type write struct {
	clear  bool // forget everything else first
	puts   []put
	result chan error
}

// put sets a key, or deletes it when value is nil.
type put struct {
	bucket, key, value []byte
}

// write hands the changes to the writer and waits until they are on disk.
func (s *Store) write(what string, puts []put) error {
	if len(puts) == 0 {
		return nil
	}
	return s.do(what, &write{puts: puts})
}

func (s *Store) do(what string, w *write) error {
	if err := failpoint.Before("store", what); err != nil {
		return err
	}
	result, err := s.enqueue(w)
	if err != nil {
		return err
	}
	s.signal()
	if err := <-result; err != nil {
		return err
	}
	return failpoint.After("store", what)
}

// enqueue adds changes to those that the writer takes next.
func (s *Store) enqueue(w *write) (<-chan error, error) {
	w.result = make(chan error, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.queue = append(s.queue, w)
	return w.result, nil
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

// commit writes the batch in one transaction, unless it changes nothing. Damage that
// bbolt comes upon only now is an error like any other; the next start repairs it.
func (s *Store) commit(batch []*write) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = &corruptError{fmt.Sprintf("state file is damaged: %v", cause)}
		}
	}()
	if err := s.writable(); err != nil {
		return err
	}
	changed, cleared, err := s.changes(batch)
	if err != nil || len(changed) == 0 {
		return err
	}
	if err := failpoint.Before("store", "commit"); err != nil {
		return err
	}
	if cleared {
		// First, so that no crash leaves the copy alone.
		if err := removeIdentity(s.path); err != nil {
			return err
		}
		s.identity = identity{}
	}
	var now identity
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
		meta := tx.Bucket(metaBucket)
		now = identity{
			InstanceARN: string(meta.Get([]byte(KeyInstanceARN))), Cluster: string(meta.Get([]byte(KeyCluster))),
			EC2InstanceID: string(meta.Get([]byte(KeyEC2InstanceID))),
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write state file: %w", err)
	}
	if now.InstanceARN != "" {
		s.keepIdentity(now)
	}
	return failpoint.After("store", "commit")
}

// writable opens a file that could not be written to once more, now and then.
func (s *Store) writable() error {
	if s.db != nil && !s.readOnly {
		return nil
	}
	if time.Since(s.reopened) < reopenPause {
		return errReadOnly
	}
	s.reopened = time.Now()
	if s.db != nil { // its lock is in the way
		_ = s.db.Close()
		s.db = nil
	}
	db, err := openDB(s.path, false)
	if err != nil {
		if db, roErr := openDB(s.path, true); roErr == nil {
			s.db = db // keeps other agents out
		}
		return fmt.Errorf("%w: %w", errReadOnly, err)
	}
	s.db, s.readOnly = db, false
	s.log.Info("state file can be written to again")
	return nil
}

// changes keeps the last put of each key, and only those that change the file.
func (s *Store) changes(batch []*write) (changed []put, cleared bool, err error) {
	type id struct{ bucket, key string }
	last := make(map[id]put)
	var order []id
	add := func(p put) {
		k := id{string(p.bucket), string(p.key)}
		if _, seen := last[k]; !seen {
			order = append(order, k)
		}
		last[k] = p
	}
	err = s.db.View(func(tx *bolt.Tx) error {
		for _, w := range batch {
			if w.clear {
				cleared = true
				for k, p := range last { // written by this batch, before
					p.value = nil
					last[k] = p
				}
				if err := everything(tx, add); err != nil {
					return err
				}
			}
			for _, p := range w.puts {
				add(p)
			}
		}
		for _, k := range order {
			p := last[k]
			if !bytes.Equal(tx.Bucket(p.bucket).Get(p.key), p.value) {
				changed = append(changed, p)
			}
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("read state file: %w", err)
	}
	return changed, cleared, nil
}

// everything adds the deletion of every record but the schema.
func everything(tx *bolt.Tx, add func(put)) error {
	for _, bucket := range buckets {
		if bytes.Equal(bucket, asideBucket) {
			continue // kept for inspection, and never read
		}
		err := tx.Bucket(bucket).ForEach(func(key, _ []byte) error {
			if !bytes.Equal(bucket, metaBucket) || string(key) != keySchema {
				add(put{bucket: bucket, key: bytes.Clone(key)})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
