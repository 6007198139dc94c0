package store

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// recordID names a record of the state file.
type recordID struct{ bucket, key string }

// overlay is what is durable and not yet in the state file: the last value of each
// record, nil for one that is deleted.
type overlay map[recordID][]byte

func (o *overlay) add(puts []put) {
	if *o == nil {
		*o = make(overlay)
	}
	for _, p := range puts {
		(*o)[recordID{string(p.bucket), string(p.key)}] = p.value
	}
}

// each goes through it in the order of the records.
func (o overlay) each(fn func(put) error) error {
	order := slices.SortedFunc(maps.Keys(o), func(a, b recordID) int {
		if a.bucket != b.bucket {
			return strings.Compare(a.bucket, b.bucket)
		}
		return strings.Compare(a.key, b.key)
	})
	for _, id := range order {
		if err := fn(put{bucket: []byte(id.bucket), key: []byte(id.key), value: o[id]}); err != nil {
			return err
		}
	}
	return nil
}

// view reads the state file with what is over it.
type view struct {
	tx   *bolt.Tx
	over overlay
}

func (s *Store) view(fn func(view) error) error {
	return s.db.View(func(tx *bolt.Tx) error { return fn(view{tx, s.pending}) })
}

// get returns a record, nil for none. A bucket may be missing in an older file that
// cannot be written to.
func (v view) get(bucket, key []byte) []byte {
	if value, ok := v.over[recordID{string(bucket), string(key)}]; ok {
		return value
	}
	if b := v.tx.Bucket(bucket); b != nil {
		return b.Get(key)
	}
	return nil
}

// each goes through the records of a bucket in the order of their keys.
func (v view) each(bucket []byte, fn func(key, value []byte) error) error {
	if len(v.over) == 0 {
		if b := v.tx.Bucket(bucket); b != nil {
			return b.ForEach(fn)
		}
		return nil
	}
	all := make(map[string][]byte)
	if b := v.tx.Bucket(bucket); b != nil {
		_ = b.ForEach(func(key, value []byte) error {
			all[string(key)] = value
			return nil
		})
	}
	for id, value := range v.over {
		if id.bucket == string(bucket) {
			all[id.key] = value
		}
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if value := all[key]; value != nil {
			if err := fn([]byte(key), value); err != nil {
				return err
			}
		}
	}
	return nil
}

// newRun names a run of the journal. It is left to chance, so that no file that was put
// beside another one fits it.
func newRun() uint64 {
	for {
		if run := rand.Uint64(); run != 0 {
			return run
		}
	}
}

func runPut(run uint64) put {
	return put{bucket: metaBucket, key: []byte(keyRun), value: strconv.AppendUint(nil, run, 16)}
}

// runOf is the run that a state file names; 0 for none.
func runOf(value []byte) uint64 {
	run, err := strconv.ParseUint(string(value), 16, 64)
	if err != nil {
		return 0
	}
	return run
}
