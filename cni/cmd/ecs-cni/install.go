package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// install puts the program into a directory under each plugin's name. A plugin that is
// being started meanwhile is either the old or the new one.
func install(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	source := self
	for _, name := range names() {
		if runtime.GOOS == "windows" {
			name += ".exe"
		}
		path := filepath.Join(dir, name)
		if same(path, source) {
			continue
		}
		temporary := path + ".new"
		if err := os.Remove(temporary); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.Link(source, temporary); err != nil {
			// Another file system: one copy, and links to it.
			if err := copyTo(self, temporary); err != nil {
				return fmt.Errorf("install %s: %w", name, err)
			}
		}
		if err := os.Rename(temporary, path); err != nil {
			return fmt.Errorf("install %s: %w", name, err)
		}
		if source == self && !same(path, self) {
			source = path
		}
	}
	return nil
}

func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

func copyTo(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
	}()
	if _, err = io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}
