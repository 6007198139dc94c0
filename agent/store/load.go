package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"

	"ecsagent/agent/task"
)

// load reads the whole file. Records that cannot be read are moved to the
// set-aside bucket.
func load(f *file, pending overlay) (*Loaded, error) {
	out := &Loaded{
		Meta: map[string]string{}, Attachments: map[string]json.RawMessage{}, Images: map[string]json.RawMessage{},
		Usage: map[string]json.RawMessage{}, Problems: f.problems,
	}
	var bad []badRecord
	err := f.db.View(func(tx *bolt.Tx) error {
		v := view{tx, pending}
		bad = readMeta(v, out)
		bad = append(bad, readTasks(v, out)...)
		bad = append(bad, readRaw(v, attachmentBucket, out.Attachments)...)
		bad = append(bad, readRaw(v, imageBucket, out.Images)...)
		bad = append(bad, readRaw(v, usageBucket, out.Usage)...)
		return nil
	})
	if err != nil || len(bad) == 0 {
		return out, err
	}
	for _, b := range bad {
		out.Problems = append(out.Problems, fmt.Sprintf("saved %s of %q cannot be read (%v): set aside", b.bucket, b.key, b.cause))
	}
	if f.readOnly || len(pending) > 0 {
		return out, nil // the disk takes no writes: the next start sets them aside
	}
	if err := setAside(f.db, bad); err != nil {
		// A full disk: they are told of again at the next start.
		out.Problems = append(out.Problems, fmt.Sprintf("records not set aside: %v", err))
	}
	return out, nil
}

// badRecord is a record that could not be read.
type badRecord struct {
	bucket, key []byte
	cause       error
}

func readMeta(v view, out *Loaded) (bad []badRecord) {
	_ = v.each(metaBucket, func(key, value []byte) error {
		out.Meta[string(key)] = string(value)
		return nil
	})
	if saved, ok := out.Meta[keySequence]; ok {
		seq, err := strconv.ParseInt(saved, 10, 64)
		if err != nil {
			bad = append(bad, badRecord{metaBucket, []byte(keySequence), err})
		}
		out.Seq = seq
	}
	delete(out.Meta, keySequence)
	delete(out.Meta, keySchema)
	delete(out.Meta, keyRun)
	return bad
}

// readRaw reads records that other packages decode.
func readRaw(v view, bucket []byte, out map[string]json.RawMessage) (bad []badRecord) {
	_ = v.each(bucket, func(key, value []byte) error {
		if !json.Valid(value) {
			bad = append(bad, badRecord{bucket, bytes.Clone(key), errors.New("not JSON")})
			return nil
		}
		out[string(key)] = bytes.Clone(value)
		return nil
	})
	return bad
}

// readTasks joins the three records of each task. A task whose state is missing or
// does not fit its spec is kept with an empty state: what Docker shows fills it.
func readTasks(v view, out *Loaded) (bad []badRecord) {
	_ = v.each(specBucket, func(key, value []byte) error {
		spec := new(task.Spec)
		if err := json.Unmarshal(value, spec); err != nil || spec.ARN != string(key) {
			if err == nil {
				err = fmt.Errorf("it names the task %q", spec.ARN)
			}
			bad = append(bad, badRecord{specBucket, bytes.Clone(key), err})
			return nil
		}
		r := task.Record{Spec: spec}
		if saved := v.get(stateBucket, key); saved != nil {
			err := json.Unmarshal(saved, &r.State)
			if err == nil && len(r.State.Containers) != len(spec.Containers) {
				err = fmt.Errorf("it has %d containers, the task %d", len(r.State.Containers), len(spec.Containers))
			}
			if err != nil {
				bad = append(bad, badRecord{stateBucket, bytes.Clone(key), err})
				r.State = task.State{}
			}
		}
		if saved := v.get(sentBucket, key); saved != nil {
			if err := json.Unmarshal(saved, &r.Sent); err != nil {
				bad = append(bad, badRecord{sentBucket, bytes.Clone(key), err})
				r.Sent = task.Sent{}
			}
		}
		out.Tasks = append(out.Tasks, r)
		return nil
	})
	return bad
}

func setAside(db *bolt.DB, bad []badRecord) error {
	stamp := time.Now().UTC().Format(time.RFC3339Nano)
	return db.Update(func(tx *bolt.Tx) error {
		aside := tx.Bucket(asideBucket)
		for _, b := range bad {
			bucket := tx.Bucket(b.bucket)
			value := bytes.Clone(bucket.Get(b.key))
			if err := aside.Put([]byte(fmt.Sprintf("%s/%s/%s", b.bucket, b.key, stamp)), value); err != nil {
				return err
			}
			if err := bucket.Delete(b.key); err != nil {
				return err
			}
		}
		return nil
	})
}
