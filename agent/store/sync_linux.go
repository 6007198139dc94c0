package store

import (
	"errors"
	"os"
	"syscall"
)

// writesSync has a write return once its data is on disk: one call, where a write and a
// sync are two that a thread waits in.
const writesSync = syscall.O_DSYNC

// syncWritten has nothing to do after that.
func syncWritten(*os.File) error { return nil }

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
