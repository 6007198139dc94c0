package logging

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, f *File, text string) {
	t.Helper()
	if _, err := f.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// contents maps the names in a directory to what is in them.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		all[e.Name()] = read(t, filepath.Join(dir, e.Name()))
	}
	return all
}

func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRotationBySize(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{
		"a.log": "old\n", "a.log.9": "nine", "a.log.10": "ten", "a.log.2": "two",
		"a.log.x": "not ours", "a.log.2026-01-02-03": "not of this mode", "b.log.1": "not ours",
	})
	f := OpenFile(FileOptions{Path: filepath.Join(dir, "a.log"), Rollover: BySize, MaxBytes: 8, Keep: 3})
	for _, text := range []string{"1\n", "2\n", "3\n", "4444444\n", "5\n"} {
		write(t, f, text)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"a.log": "5\n", "a.log.12": "3\n4444444\n", "a.log.11": "old\n1\n2\n", "a.log.10": "ten",
		"a.log.x": "not ours", "a.log.2026-01-02-03": "not of this mode", "b.log.1": "not ours",
	}
	if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestRotationHourly(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.log": "before\n", "a.log.1": "not of this mode"})
	start := time.Date(2026, 1, 2, 3, 10, 0, 0, time.Local)
	if err := os.Chtimes(filepath.Join(dir, "a.log"), start, start); err != nil {
		t.Fatal(err)
	}
	now := start.Add(20 * time.Minute)
	f := OpenFile(FileOptions{Path: filepath.Join(dir, "a.log"), Rollover: Hourly, Keep: 2, Now: func() time.Time { return now }})
	write(t, f, "03:30\n")
	now = start.Add(50 * time.Minute)
	write(t, f, "04:00\n")
	now = start.Add(-time.Hour)
	write(t, f, "clock set back\n")
	want := map[string]string{"a.log": "04:00\nclock set back\n", "a.log.2026-01-02-03": "before\n03:30\n", "a.log.1": "not of this mode"}
	if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
		t.Error(diff)
	}
	// A file of the same hour is kept, and the count holds.
	put(t, dir, map[string]string{"a.log.2026-01-02-04": "the first time it was four"})
	now = start.Add(2 * time.Hour)
	write(t, f, "05:10\n")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{
		"a.log": "05:10\n", "a.log.2026-01-02-04": "the first time it was four",
		"a.log.2026-01-02-04.2": "04:00\nclock set back\n", "a.log.1": "not of this mode",
	}
	if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestAnOldFileIsRotatedAtTheFirstRecord(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.log": "yesterday\n"})
	ended := time.Date(2026, 1, 1, 23, 59, 0, 0, time.Local)
	if err := os.Chtimes(filepath.Join(dir, "a.log"), ended, ended); err != nil {
		t.Fatal(err)
	}
	f := OpenFile(FileOptions{Path: filepath.Join(dir, "a.log"), Rollover: Hourly, Now: func() time.Time { return ended.Add(time.Hour) }})
	write(t, f, "today\n")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a.log": "today\n", "a.log.2026-01-01-23": "yesterday\n"}, contents(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestNoRotationAndNoLimit(t *testing.T) {
	dir := t.TempDir()
	f := OpenFile(FileOptions{Path: filepath.Join(dir, "a.log"), Rollover: Never, MaxBytes: 1, Keep: 1})
	write(t, f, "1\n")
	write(t, f, "2\n")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	g := OpenFile(FileOptions{Path: filepath.Join(dir, "b.log"), Rollover: BySize, MaxBytes: 1, Keep: 0})
	for range 5 {
		write(t, g, "x\n")
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a.log": "1\n2\n", "b.log": "x\n", "b.log.1": "x\n", "b.log.2": "x\n", "b.log.3": "x\n", "b.log.4": "x\n"}
	if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// A file that cannot be moved aside is written on.
func TestRotationThatFails(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.log": "full\n"})
	if err := os.MkdirAll(filepath.Join(dir, "a.log.1", "not empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	f := OpenFile(FileOptions{Path: filepath.Join(dir, "a.log"), Rollover: BySize, MaxBytes: 1, Keep: 1})
	write(t, f, "more\n")
	write(t, f, "and more\n")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, "a.log")); got != "full\nmore\nand more\n" {
		t.Errorf("file: %q", got)
	}
}

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes are of POSIX systems")
	}
	dir := filepath.Join(t.TempDir(), "sub")
	f := OpenFile(FileOptions{Path: filepath.Join(dir, "a.log"), Rollover: Never})
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made before the first record")
	}
	write(t, f, "x")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for path, limit := range map[string]os.FileMode{dir: 0o755, filepath.Join(dir, "a.log"): 0o644} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&^limit != 0 {
			t.Errorf("%s has mode %o, want at most %o", path, info.Mode().Perm(), limit)
		}
	}
}
