package store

import (
	"fmt"
	"strconv"

	bolt "go.etcd.io/bbolt"
)

// migration brings a file from one schema to the next, within a transaction: either
// the whole way to the newest schema is gone or none of it.
type migration func(*bolt.Tx) error

// migrations are the steps from each schema to the next, from schema 0, which is an
// empty file. A file of every schema is in testdata and opened in a test; a change of
// what is written that older code could not read, or that cannot be read without the
// step, adds one. Records that only gain a field need none.
var migrations = []migration{
	func(*bolt.Tx) error { return nil }, // 0 to 1: nothing was there
}

// prepare makes the buckets and brings the file to the newest schema. A file that needs
// nothing is not written to.
func prepare(db *bolt.DB, steps []migration) error {
	var ready bool
	err := db.View(func(tx *bolt.Tx) error {
		schema, err := schemaOf(tx, len(steps))
		ready = err == nil && schema == len(steps)
		for _, name := range buckets {
			ready = ready && tx.Bucket(name) != nil
		}
		return err
	})
	if err != nil || ready {
		return err
	}
	return db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return fmt.Errorf("create bucket %s: %w", name, err)
			}
		}
		schema, err := schemaOf(tx, len(steps))
		if err != nil {
			return err
		}
		for ; schema < len(steps); schema++ {
			if err := steps[schema](tx); err != nil {
				return &corruptError{fmt.Sprintf("it cannot be brought from schema %d to %d: %v", schema, schema+1, err)}
			}
		}
		return tx.Bucket(metaBucket).Put([]byte(keySchema), []byte(strconv.Itoa(schema)))
	})
}

// schemaOf reads the file's schema: 0 for a new one.
func schemaOf(tx *bolt.Tx, newest int) (int, error) {
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		return 0, nil
	}
	saved := meta.Get([]byte(keySchema))
	if saved == nil {
		return 0, nil
	}
	schema, err := strconv.Atoi(string(saved))
	if err != nil || schema < 1 || schema > newest {
		return 0, &corruptError{fmt.Sprintf("schema %q is not known to this version (want 1 to %d)", saved, newest)}
	}
	return schema, nil
}
