//go:build !linux

package store

import "os"

// writesSync is for systems that have it.
const writesSync = 0

// syncWritten makes what was written durable.
func syncWritten(f *os.File) error { return f.Sync() }

// syncDir has nothing to do: Windows syncs no directories.
func syncDir(string) error { return nil }
