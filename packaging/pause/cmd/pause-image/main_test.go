package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The archive depends on nothing but the program and its architecture.
func TestArchiveIsReproducible(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "pause")
	if err := os.WriteFile(program, []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	var archives [][]byte
	for _, name := range []string{"a.tar", "b.tar", "b.tar"} {
		if err := run(program, "amd64", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		archive, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		archives = append(archives, archive)
	}
	other, err := image([]byte("program"), "arm64").Bytes()
	if err != nil || !bytes.Equal(archives[0], archives[1]) || !bytes.Equal(archives[1], archives[2]) || bytes.Equal(archives[0], other) {
		t.Errorf("archives differ or do not: %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 3 {
		t.Errorf("files left: %v, %v", files, err)
	}
	if err := run(filepath.Join(dir, "none"), "amd64", filepath.Join(dir, "c.tar")); err == nil {
		t.Error("no program, and no error")
	}
}
