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
					s.settle()
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

// commit makes the batch durable, unless it changes nothing: in the journal, or together
// with what the journal holds in one transaction of the state file.
func (s *Store) commit(batch []*write) error {
	return s.guarded(func() error {
		if err := s.writable(); err != nil {
			return err
		}
		c, err := s.changes(batch)
		if err != nil || len(c.puts) == 0 {
			return err
		}
		if !c.whole {
			if done, err := s.note(c.puts); done || err != nil {
				return err
			}
		}
		return s.transact(c)
	})
}

// guarded makes damage that bbolt comes upon only now an error like any other; the next
// start repairs it.
func (s *Store) guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = &corruptError{fmt.Sprintf("state file is damaged: %v", cause)}
		}
	}()
	return do()
}

// note makes puts durable in the journal. It reports false where the journal cannot take
// them: the state file can, or says why not.
func (s *Store) note(puts []put) (done bool, err error) {
	if err := failpoint.Before("store", "journal"); err != nil {
		return false, err
	}
	fits, err := s.journal.add(puts)
	if err != nil {
		s.log.Warn("journal not written: the state file is written instead", zap.Error(err))
		s.journal.stop() // until the state file names another run: the entry may be there
	}
	if !fits {
		return false, nil
	}
	s.pending.add(puts)
	return true, failpoint.After("store", "journal")
}

// transact brings what the journal holds and the change into the state file, which with
// that names another run: the entries of the journal mean nothing any more.
func (s *Store) transact(c change) error {
	if err := failpoint.Before("store", "commit"); err != nil {
		return err
	}
	if c.cleared {
		// First, so that no crash leaves the copy alone.
		if err := removeIdentity(s.path); err != nil {
			return err
		}
		s.identity = identity{}
	}
	s.journal.stop() // should this fail, nobody knows which run the file names
	var now identity
	run := newRun()
	err := s.db.Update(func(tx *bolt.Tx) error {
		err := s.pending.each(func(p put) error { return apply(tx, p) })
		for i := 0; err == nil && i < len(c.puts); i++ {
			err = apply(tx, c.puts[i])
		}
		if err == nil {
			err = apply(tx, runPut(run))
		}
		meta := tx.Bucket(metaBucket)
		now = identity{
			InstanceARN: string(meta.Get([]byte(KeyInstanceARN))), Cluster: string(meta.Get([]byte(KeyCluster))),
			EC2InstanceID: string(meta.Get([]byte(KeyEC2InstanceID))),
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("write state file: %w", err)
	}
	s.pending = nil
	s.journal.begin(run)
	if now.InstanceARN != "" {
		s.keepIdentity(now)
	}
	return failpoint.After("store", "commit")
}

// settle brings what the journal holds into the state file when the store is closed. It
// may fail: the next start reads the journal.
func (s *Store) settle() {
	if len(s.pending) == 0 || s.db == nil || s.readOnly {
		return
	}
	if err := s.guarded(func() error { return s.transact(change{}) }); err != nil {
		s.log.Warn("journal not brought into the state file", zap.Error(err))
	}
}

func apply(tx *bolt.Tx, p put) error {
	bucket := tx.Bucket(p.bucket)
	if p.value == nil {
		if err := bucket.Delete(p.key); err != nil {
			return fmt.Errorf("delete %s %s: %w", p.bucket, p.key, err)
		}
		return nil
	}
	if err := bucket.Put(p.key, p.value); err != nil {
		return fmt.Errorf("put %s %s: %w", p.bucket, p.key, err)
	}
	return nil
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

// change is what a batch changes.
type change struct {
	puts    []put // one for each key
	cleared bool
	whole   bool // it is for the state file itself: who the instance is, or what that refuses
}

// changes keeps the last put of each key, and only those that change what is durable.
func (s *Store) changes(batch []*write) (c change, err error) {
	var last overlay
	err = s.view(func(v view) error {
		for _, w := range batch {
			if w.clear {
				c.cleared, c.whole = true, true
				for k := range last { // written by this batch, before
					last[k] = nil
				}
				if err := everything(v, func(p put) { last.add([]put{p}) }); err != nil {
					return err
				}
			}
			last.add(w.puts)
		}
		return last.each(func(p put) error {
			if !bytes.Equal(v.get(p.bucket, p.key), p.value) {
				c.puts = append(c.puts, p)
				c.whole = c.whole || !fitsKey(p.key) || bytes.Equal(p.bucket, metaBucket) && string(p.key) != keySequence
			}
			return nil
		})
	})
	if err != nil {
		return change{}, fmt.Errorf("read state file: %w", err)
	}
	return c, nil
}

// everything adds the deletion of every record but the schema.
func everything(v view, add func(put)) error {
	for _, bucket := range buckets {
		if bytes.Equal(bucket, asideBucket) {
			continue // kept for inspection, and never read
		}
		err := v.each(bucket, func(key, _ []byte) error {
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
