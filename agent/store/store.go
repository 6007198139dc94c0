package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"

	"ecsagent/agent/failpoint"
	"ecsagent/agent/task"
)

// FileName is the name of the state file in the data directory.
const FileName = "ecs-agent.db"

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
	usageBucket      = []byte("usage")
	asideBucket      = []byte("set-aside")

	buckets = [][]byte{metaBucket, specBucket, stateBucket, sentBucket, attachmentBucket, imageBucket, usageBucket, asideBucket}
)

// Keys of the meta bucket (docs/spec/01 section 3.9).
const (
	KeyInstanceARN      = "container-instance-arn"
	KeyCluster          = "cluster-name"
	KeyEC2InstanceID    = "ec2-instance-id"
	KeyAvailabilityZone = "availability-zone"
	KeyAgentVersion     = "agent-version"
	// KeyRegistrationToken makes a registration whose answer was lost the same
	// registration when it is made again.
	KeyRegistrationToken = "registration-token"
	// KeyFormerClusters are the clusters of instances that were on this host before, as
	// long as containers of theirs may be left; space-separated.
	KeyFormerClusters = "former-clusters"

	// KeyOfficial says what became of the state that the official agent left in the data
	// directory; it is set once that has been decided.
	KeyOfficial = "official-state"
	// KeyLateVolume, with the name of a volume behind it, tells when the task was cleaned up
	// for which Docker may still be making the volume.
	KeyLateVolume = "late-volume/"

	keySchema   = "schema"
	keySequence = "sequence-number"
	keyRun      = "journal" // whose entries are not in the file yet
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
	Usage       map[string]json.RawMessage // by container id
	// Problems lists what was set aside, for the log and the operator.
	Problems []string
}

// Store is an open state file. Its methods may be called from any goroutine; each
// but SaveSent returns when its change is on disk.
type Store struct {
	path string
	log  *zap.Logger

	// The writer's own.
	db       *bolt.DB // nil while the file cannot be opened
	readOnly bool     // db takes no writes
	reopened time.Time
	identity identity // as it is on disk
	journal  journal
	pending  overlay // what the journal holds

	mu     sync.Mutex
	queue  []*write
	closed bool
	lazy   *time.Timer // wakes the writer for what need not be written at once

	wake chan struct{}
	done chan struct{}
}

// Open opens the state file in dir, creating both when missing. What cannot be read of
// the file is set aside and told in Loaded.Problems. A file that cannot be written to is
// read all the same, and every write fails until it can be. The error is ErrInUse when
// another agent has the file, or says what the file system refused.
func Open(dir string, log *zap.Logger) (*Store, *Loaded, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("create data directory: %w", err)
	}
	path := filepath.Join(dir, FileName)
	f, err := openFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open state file %s: %w", path, err)
	}
	s := &Store{
		path: path, log: log, db: f.db, readOnly: f.readOnly, journal: journal{path: journalPath(path)},
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	f.problems = append(f.problems, s.readBack()...)
	loaded, err := load(f, s.pending)
	if err != nil {
		_ = f.db.Close()
		return nil, nil, fmt.Errorf("read state file %s: %w", path, err)
	}
	s.restoreIdentity(f, loaded)
	go s.run()
	return s, loaded, nil
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
	err := s.journal.close()
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	return err
}

// readBack brings what the journal holds into the state file, or keeps it in memory
// where the disk takes no writes. It returns what is wrong with the journal.
func (s *Store) readBack() (problems []string) {
	var run uint64
	_ = s.view(func(v view) error { run = runOf(v.get(metaBucket, []byte(keyRun))); return nil })
	puts, problems := readJournal(s.journal.path, run)
	if len(puts) == 0 && len(problems) == 0 {
		s.journal.begin(run)
		return nil
	}
	s.pending.add(puts)
	if s.readOnly {
		return problems
	}
	if err := s.guarded(func() error { return s.transact(change{}) }); err != nil {
		problems = append(problems, fmt.Sprintf("state file %s cannot be written to (%v): what its journal holds is read", s.path, err))
	}
	return problems
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
	return s.write("tasks", puts)
}

// SaveState makes a task's state durable.
func (s *Store) SaveState(arn string, state task.State) error {
	return s.writeJSON("state", stateBucket, arn, &state)
}

// SaveSent keeps what ECS has accepted of a task. It returns at once: the record
// goes to disk with the next write, or after lazyDelay. A crash in between has the
// same end as one just before the call: ECS is told once more.
func (s *Store) SaveSent(arn string, sent task.Sent) error {
	p, err := jsonPut(sentBucket, arn, &sent)
	if err != nil {
		return err
	}
	if err := failpoint.Before("store", "sent"); err != nil {
		return err
	}
	if _, err := s.enqueue(&write{puts: []put{p}}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil // it is written on the way out
	}
	if s.lazy == nil {
		s.lazy = time.AfterFunc(lazyDelay, s.signal)
	} else {
		s.lazy.Reset(lazyDelay)
	}
	return failpoint.After("store", "sent")
}

// SaveSequence makes the latest sequence number durable. It waits a moment for the
// states of the tasks that the same payload changes, to go to disk with them.
func (s *Store) SaveSequence(seq int64) error {
	if err := failpoint.Before("store", "sequence"); err != nil {
		return err
	}
	result, err := s.enqueue(&write{puts: []put{sequencePut(seq)}})
	if err != nil {
		return err
	}
	gather := time.AfterFunc(gatherDelay, s.signal)
	defer gather.Stop()
	if err := <-result; err != nil {
		return err
	}
	return failpoint.After("store", "sequence")
}

// DeleteTask forgets a task.
func (s *Store) DeleteTask(arn string) error {
	key := []byte(arn)
	return s.write("delete", []put{{bucket: specBucket, key: key}, {bucket: stateBucket, key: key}, {bucket: sentBucket, key: key}})
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
	return s.write("meta", puts)
}

// SaveAttachment makes an attachment record durable.
func (s *Store) SaveAttachment(key string, record any) error {
	return s.writeJSON("attachment", attachmentBucket, key, record)
}

// DeleteAttachment forgets an attachment record.
func (s *Store) DeleteAttachment(key string) error {
	return s.write("attachment", []put{{bucket: attachmentBucket, key: []byte(key)}})
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
	return s.write("images", puts)
}

// SaveUsage makes durable what a container used before it was restarted.
func (s *Store) SaveUsage(id string, record any) error {
	return s.writeJSON("usage", usageBucket, id, record)
}

// DeleteUsage forgets that.
func (s *Store) DeleteUsage(id string) error {
	return s.write("usage", []put{{bucket: usageBucket, key: []byte(id)}})
}

// Clear forgets everything but the schema and what was set aside: the next start is that
// of a new container instance. The values of meta are set in the same transaction.
func (s *Store) Clear(meta map[string]string) error {
	w := &write{clear: true}
	for key, value := range meta {
		w.puts = append(w.puts, put{bucket: metaBucket, key: []byte(key), value: []byte(value)})
	}
	return s.do("meta", w)
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

func (s *Store) writeJSON(what string, bucket []byte, key string, value any) error {
	p, err := jsonPut(bucket, key, value)
	if err != nil {
		return err
	}
	return s.write(what, []put{p})
}
