package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"

	"ecsagent/agent/task"
)

// FileName is the name of the state file in the data directory.
const FileName = "ecs-agent.db"

// schemaVersion is the layout that this code writes.
const schemaVersion = "1"

// lockTimeout is how long Open waits for another process to let go of the file.
const lockTimeout = 2 * time.Second

// lazyDelay is how long a record that need not be on disk at once may wait for
// another write to go with.
const lazyDelay = time.Second

// gatherDelay is how long a sequence number waits for the states that belong to it.
const gatherDelay = 3 * time.Millisecond

var (
	metaBucket       = []byte("meta")
	specBucket       = []byte("task-spec")
	stateBucket      = []byte("task-state")
	sentBucket       = []byte("task-sent")
	attachmentBucket = []byte("attachment")
	imageBucket      = []byte("image")
	asideBucket      = []byte("set-aside")

	buckets = [][]byte{metaBucket, specBucket, stateBucket, sentBucket, attachmentBucket, imageBucket, asideBucket}
)

// Keys of the meta bucket (docs/spec/01 section 3.9).
const (
	KeyInstanceARN      = "container-instance-arn"
	KeyCluster          = "cluster-name"
	KeyEC2InstanceID    = "ec2-instance-id"
	KeyAvailabilityZone = "availability-zone"
	KeyAgentVersion     = "agent-version"

	keySchema   = "schema"
	keySequence = "sequence-number"
)

// ErrInUse means that another process holds the state file.
var ErrInUse = errors.New("state file is in use by another agent")

// ErrClosed means that the store was closed.
var ErrClosed = errors.New("state file is closed")

// Loaded is what the file held when it was opened.
type Loaded struct {
	Tasks       []task.Record // in the order of their ARNs
	Seq         int64         // latest sequence number; 0 when none was saved
	Meta        map[string]string
	Attachments map[string]json.RawMessage
	Images      map[string]json.RawMessage // by image id
	// Problems lists what was set aside, for the log and the operator.
	Problems []string
}

// Store is an open state file. Its methods may be called from any goroutine; each
// but SaveSent returns when its change is on disk.
type Store struct {
	db  *bolt.DB
	log *zap.Logger

	mu     sync.Mutex
	queue  []*write
	closed bool
	lazy   *time.Timer // wakes the writer for what need not be written at once

	wake chan struct{}
	done chan struct{}
}

// Open opens the state file in dir, creating both when missing. A file that cannot
// be read is moved aside and an empty one takes its place; a record that cannot be
// read is set aside inside the file. Both are told in Loaded.Problems. The error is
// ErrInUse when another agent has the file, or says what the file system refused.
func Open(dir string, log *zap.Logger) (*Store, *Loaded, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("create data directory: %w", err)
	}
	path := filepath.Join(dir, FileName)
	var problems []string
	db, err := openFile(path)
	if err != nil && unreadable(err) {
		aside := path + ".unreadable-" + time.Now().UTC().Format("20060102T150405.000000000")
		if moveErr := os.Rename(path, aside); moveErr != nil {
			return nil, nil, fmt.Errorf("set unreadable state file %s aside: %w", path, moveErr)
		}
		problems = append(problems, fmt.Sprintf("state file %s cannot be read (%v): kept as %s, starting empty", path, err, aside))
		db, err = openFile(path)
	}
	if err != nil {
		if errors.Is(err, berrors.ErrTimeout) {
			err = ErrInUse
		}
		return nil, nil, fmt.Errorf("open state file %s: %w", path, err)
	}
	loaded, err := load(db)
	if err != nil {
		_ = db.Close()
		return nil, nil, fmt.Errorf("read state file %s: %w", path, err)
	}
	loaded.Problems = append(problems, loaded.Problems...)
	s := &Store{db: db, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s, loaded, nil
}

// unreadable reports whether the file's content, not the file system, is at fault.
func unreadable(err error) bool {
	var corrupt *corruptError
	return errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) ||
		errors.Is(err, berrors.ErrVersionMismatch) || errors.As(err, &corrupt)
}

type corruptError struct{ cause any }

func (e *corruptError) Error() string { return fmt.Sprintf("damaged: %v", e.cause) }

// openFile opens the file and reads every record of it once, here, because bbolt
// answers a damaged page with a panic and a truncated file with a memory fault,
// whenever the page is first touched. (bbolt's own Check panics in a goroutine of its
// own, where nobody can catch it; so does a missing free list, so it is kept synced.)
func openFile(path string) (db *bolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			if db != nil {
				_ = db.Close()
			}
			db, err = nil, &corruptError{cause}
		}
	}()
	db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	if err = db.View(func(tx *bolt.Tx) error { return readThrough(tx, path) }); err == nil {
		err = db.Update(prepare)
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

// readThrough touches every record.
func readThrough(tx *bolt.Tx, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return &corruptError{fmt.Sprintf("it has %d bytes of %d", info.Size(), tx.Size())}
	}
	return tx.ForEach(func(_ []byte, bucket *bolt.Bucket) error {
		return bucket.ForEach(func(_, _ []byte) error { return nil })
	})
}

func prepare(tx *bolt.Tx) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return checkSchema(tx)
}

func checkSchema(tx *bolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	switch found := string(meta.Get([]byte(keySchema))); found {
	case schemaVersion:
		return nil
	case "":
		return meta.Put([]byte(keySchema), []byte(schemaVersion))
	default:
		return &corruptError{fmt.Sprintf("schema %q is not known to this version (want %s)", found, schemaVersion)}
	}
}

// Close waits for the writes under way and closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.lazy != nil {
		s.lazy.Stop()
	}
	s.mu.Unlock()
	s.signal()
	<-s.done
	return s.db.Close()
}

// SaveTasks makes new tasks and the sequence number that covers them durable as
// one. A seq of 0 leaves the saved number alone.
func (s *Store) SaveTasks(seq int64, records []task.Record) error {
	var puts []put
	if seq != 0 {
		puts = append(puts, sequencePut(seq))
	}
	for i := range records {
		r := &records[i]
		for _, part := range []struct {
			bucket []byte
			value  any
		}{{specBucket, r.Spec}, {stateBucket, &r.State}, {sentBucket, &r.Sent}} {
			p, err := jsonPut(part.bucket, r.Spec.ARN, part.value)
			if err != nil {
				return err
			}
			puts = append(puts, p)
		}
	}
	return s.write(puts)
}

// SaveState makes a task's state durable.
func (s *Store) SaveState(arn string, state task.State) error {
	return s.writeJSON(stateBucket, arn, &state)
}

// SaveSent keeps what ECS has accepted of a task. It returns at once: the record
// goes to disk with the next write, or after lazyDelay. A crash in between has the
// same end as one just before the call: ECS is told once more.
func (s *Store) SaveSent(arn string, sent task.Sent) error {
	p, err := jsonPut(sentBucket, arn, &sent)
	if err != nil {
		return err
	}
	if _, err := s.enqueue([]put{p}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lazy == nil {
		s.lazy = time.AfterFunc(lazyDelay, s.signal)
	} else {
		s.lazy.Reset(lazyDelay)
	}
	return nil
}

// SaveSequence makes the latest sequence number durable. It waits a moment for the
// states of the tasks that the same payload changes, to go to disk with them.
func (s *Store) SaveSequence(seq int64) error {
	w, err := s.enqueue([]put{sequencePut(seq)})
	if err != nil {
		return err
	}
	gather := time.AfterFunc(gatherDelay, s.signal)
	defer gather.Stop()
	return <-w.result
}

// DeleteTask forgets a task.
func (s *Store) DeleteTask(arn string) error {
	key := []byte(arn)
	return s.write([]put{{bucket: specBucket, key: key}, {bucket: stateBucket, key: key}, {bucket: sentBucket, key: key}})
}

// SetMeta sets metadata keys as one; an empty value deletes its key.
func (s *Store) SetMeta(values map[string]string) error {
	var puts []put
	for key, value := range values {
		p := put{bucket: metaBucket, key: []byte(key)}
		if value != "" {
			p.value = []byte(value)
		}
		puts = append(puts, p)
	}
	return s.write(puts)
}

// SaveAttachment makes an attachment record durable.
func (s *Store) SaveAttachment(key string, record any) error {
	return s.writeJSON(attachmentBucket, key, record)
}

// DeleteAttachment forgets an attachment record.
func (s *Store) DeleteAttachment(key string) error {
	return s.write([]put{{bucket: attachmentBucket, key: []byte(key)}})
}

// SaveImages makes the accounts of images durable as one, by image id; a nil record
// deletes its id's.
func (s *Store) SaveImages(records map[string]any) error {
	puts := make([]put, 0, len(records))
	for id, record := range records {
		if record == nil {
			puts = append(puts, put{bucket: imageBucket, key: []byte(id)})
			continue
		}
		p, err := jsonPut(imageBucket, id, record)
		if err != nil {
			return err
		}
		puts = append(puts, p)
	}
	return s.write(puts)
}

// Clear forgets everything but the schema: the next start is that of a new
// container instance.
func (s *Store) Clear() error {
	var puts []put
	err := s.db.View(func(tx *bolt.Tx) error {
		for _, bucket := range buckets {
			err := tx.Bucket(bucket).ForEach(func(key, _ []byte) error {
				if string(key) != keySchema {
					puts = append(puts, put{bucket: bucket, key: bytes.Clone(key)})
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list saved state: %w", err)
	}
	return s.write(puts)
}

func sequencePut(seq int64) put {
	return put{bucket: metaBucket, key: []byte(keySequence), value: strconv.AppendInt(nil, seq, 10)}
}

func jsonPut(bucket []byte, key string, value any) (put, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return put{}, fmt.Errorf("encode %s of %s: %w", bucket, key, err)
	}
	return put{bucket: bucket, key: []byte(key), value: encoded}, nil
}

func (s *Store) writeJSON(bucket []byte, key string, value any) error {
	p, err := jsonPut(bucket, key, value)
	if err != nil {
		return err
	}
	return s.write([]put{p})
}
