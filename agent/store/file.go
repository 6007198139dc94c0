package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lockTimeout is how long Open waits for another process to let go of the file.
const lockTimeout = 2 * time.Second

// file is a state file that was opened.
type file struct {
	db       *bolt.DB
	readOnly bool // the disk takes no writes
	fresh    bool // there was none
	damaged  bool // part of it could not be read
	problems []string
}

// openFile opens the file for writing, or for reading where it cannot be written to. One
// that is damaged is moved aside, and what can be read of it goes into a new one.
func openFile(path string) (*file, error) {
	f := &file{}
	content, err := readLocked(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(content) == 0:
		f.fresh = true
		return f, f.open(path)
	case err != nil:
		return nil, err
	}
	records, damage := survey(content)
	if len(damage) > 0 {
		return f, f.salvage(path, records, damage)
	}
	if err = f.open(path); err == nil {
		return f, nil
	}
	if corrupt := (*corruptError)(nil); errors.As(err, &corrupt) {
		return f, f.salvage(path, records, []string{corrupt.Error()})
	}
	return nil, err
}

// readLocked reads the file while no agent has it open.
func readLocked(path string) ([]byte, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	lock, err := openDB(path, true)
	if err == nil {
		defer lock.Close()
	} else if errors.Is(err, ErrInUse) {
		return nil, err
	} // else it is damaged, and no agent could have it open
	return os.ReadFile(path)
}

// open opens a file that is sound or empty.
func (f *file) open(path string) error {
	db, err := openDB(path, false)
	if err != nil && unwritable(err) && !f.fresh {
		f.problems = append(f.problems, fmt.Sprintf("state file %s cannot be written to (%v): it is read, and nothing is saved until that is remedied", path, err))
		f.readOnly = true
		db, err = openDB(path, true)
	}
	f.db = db
	return err
}

// openDB opens the file with bbolt. Should survey have missed something, bbolt's panic
// is the answer.
func openDB(path string, readOnly bool) (db *bolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			if db != nil {
				_ = db.Close()
			}
			db, err = nil, &corruptError{fmt.Sprint(cause)}
		}
	}()
	// The list of free pages is kept in the file: without it bbolt would read the whole
	// file in a goroutine of its own, where no panic can be caught.
	options := bolt.Options{Timeout: lockTimeout, FreelistType: bolt.FreelistMapType}
	if readOnly {
		// Not bbolt's own read-only mode: that shares its lock with a second agent.
		options.OpenFile = func(name string, _ int, _ os.FileMode) (*os.File, error) { return os.Open(name) }
	}
	db, err = bolt.Open(path, 0o600, &options)
	if err == nil && !readOnly {
		err = prepare(db, migrations)
	}
	if err == nil {
		return db, nil
	}
	if db != nil {
		_ = db.Close()
	}
	if errors.Is(err, berrors.ErrTimeout) {
		err = ErrInUse
	}
	return nil, err
}

// unwritable reports whether the disk, not the content, is at fault.
func unwritable(err error) bool {
	var path *fs.PathError
	corrupt := (*corruptError)(nil)
	return !errors.Is(err, ErrInUse) && !errors.As(err, &corrupt) && (errors.As(err, &path) || errors.Is(err, fs.ErrPermission) || isDiskError(err))
}

// corruptError says that the content of the file cannot be used.
type corruptError struct{ cause string }

func (e *corruptError) Error() string { return e.cause }

// salvage moves the file aside and makes a new one of the records that could be read.
func (f *file) salvage(path string, records []found, damage []string) error {
	aside := path + ".unreadable-" + time.Now().UTC().Format("20060102T150405.000000000")
	if err := os.Rename(path, aside); err != nil {
		return fmt.Errorf("set the damaged state file aside: %w", err)
	}
	f.damaged = true
	f.problems = append(f.problems, fmt.Sprintf("state file %s is damaged: kept as %s, %d records used", path, aside, len(records)))
	for _, d := range damage {
		f.problems = append(f.problems, "state file "+path+": "+d)
	}
	db, err := openDB(path, false)
	if err != nil {
		return fmt.Errorf("make a new state file: %w", err)
	}
	f.db = db
	err = db.Update(func(tx *bolt.Tx) error {
		for _, r := range records {
			bucket := tx.Bucket(r.bucket)
			if bucket == nil || bytes.Equal(r.bucket, metaBucket) && string(r.key) == keySchema {
				continue
			}
			if err := bucket.Put(r.key, r.value); err != nil {
				return fmt.Errorf("keep %s of %q: %w", r.bucket, r.key, err)
			}
		}
		return nil
	})
	if err != nil {
		_ = db.Close()
		return err
	}
	return nil
}

// Retire moves the state file in dir aside, if there is one: it belongs to a container
// instance that is no more, and must not come back with a later start.
func Retire(dir string) error {
	path := filepath.Join(dir, FileName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := readLocked(path); err != nil {
		return fmt.Errorf("retire state file %s: %w", path, err)
	}
	if err := removeIdentity(path); err != nil {
		return err
	}
	former := path + ".former-" + time.Now().UTC().Format("20060102T150405.000000000")
	if err := os.Rename(path, former); err != nil {
		return fmt.Errorf("retire the state file: %w", err)
	}
	if err := os.Rename(journalPath(path), journalPath(former)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("retire the journal: %w", err)
	}
	return nil
}
