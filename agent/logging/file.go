package logging

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Rollover says when a log file is rotated (docs/spec/03 section 3.4).
type Rollover string

// The ways of rotation.
const (
	BySize Rollover = "size"   // file.N, larger N is newer
	Hourly Rollover = "hourly" // file.YYYY-MM-DD-HH, local time
	Never  Rollover = "none"
)

// ParseRollover reads a word of the configuration.
func ParseRollover(word string) (Rollover, error) {
	switch r := Rollover(word); r {
	case BySize, Hourly, Never:
		return r, nil
	default:
		return "", fmt.Errorf("log rollover %q: want size, hourly or none", word)
	}
}

// FileOptions describe a rotated file.
type FileOptions struct {
	Path     string
	Rollover Rollover
	MaxBytes int64            // BySize: size from which the file is rotated
	Keep     int              // rotated files kept; 0 or less keeps all
	Now      func() time.Time // nil is time.Now
}

// retryAfter keeps a file that cannot be opened or rotated from being tried again
// with every record.
const retryAfter = 10 * time.Second

// Modes of what is created (docs/spec/03 section 8.31).
const (
	fileMode = 0o644
	dirMode  = 0o755
)

// File is a log file that rotates itself. It opens at the first write, so that an
// unused file is not made, and again after a failure. It is safe for concurrent use;
// the mutex is held while writing, which keeps records whole.
type File struct {
	o   FileOptions
	mu  sync.Mutex
	out *os.File // nil: not open

	closed    bool
	size      int64
	hour      time.Time // the hour the current file belongs to
	failure   error     // why the file cannot be opened
	openNext  time.Time // not tried again before
	rotateNot time.Time // rotation failed; not tried again before
}

// OpenFile returns the file; it touches nothing yet.
func OpenFile(o FileOptions) *File {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &File{o: o}
}

// Write appends one record, rotating first when it is time. A rotation that fails
// is returned as an error only if the record is lost with it.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return len(p), nil
	}
	now := f.o.Now()
	if err := f.open(now); err != nil {
		return 0, err
	}
	if f.due(now) {
		if err := f.rotate(now); err != nil {
			return 0, err
		}
	}
	n, err := f.out.Write(p)
	f.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("write log file: %w", err)
	}
	return n, nil
}

// Sync implements zapcore.WriteSyncer.
func (f *File) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out == nil {
		return nil
	}
	return f.out.Sync()
}

// Close releases the file. Records written later are dropped.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.release()
}

func (f *File) release() error {
	if f.out == nil {
		return nil
	}
	err := f.out.Close()
	f.out = nil
	if err != nil {
		return fmt.Errorf("close log file: %w", err)
	}
	return nil
}

// open opens the current file to append to it.
func (f *File) open(now time.Time) error {
	if f.out != nil {
		return nil
	}
	if f.failure != nil && now.Before(f.openNext) {
		return f.failure
	}
	if f.failure = f.tryOpen(now); f.failure != nil {
		f.openNext = now.Add(retryAfter)
	}
	return f.failure
}

func (f *File) tryOpen(now time.Time) error {
	if err := os.MkdirAll(filepath.Dir(f.o.Path), dirMode); err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	out, err := os.OpenFile(f.o.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, fileMode)
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	info, err := out.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("inspect log file: %w", err), out.Close())
	}
	f.out, f.size, f.hour = out, info.Size(), hourOf(now)
	if f.size > 0 {
		f.hour = hourOf(info.ModTime())
	}
	return nil
}

// hourOf is the start of an hour in local time.
func hourOf(t time.Time) time.Time {
	t = t.Local()
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), 0, 0, 0, time.Local)
}

func (f *File) due(now time.Time) bool {
	if now.Before(f.rotateNot) {
		return false
	}
	switch f.o.Rollover {
	case BySize:
		return f.o.MaxBytes > 0 && f.size >= f.o.MaxBytes
	case Hourly:
		return hourOf(now).After(f.hour)
	default:
		return false
	}
}

// rotate moves the current file aside and opens a new one. If it cannot be moved,
// writing goes on in the current one.
func (f *File) rotate(now time.Time) error {
	old := f.rotated()
	name := f.nextName(old)
	if err := f.release(); err != nil {
		f.rotateNot = now.Add(retryAfter)
	}
	if err := os.Rename(f.o.Path, name); err != nil {
		f.rotateNot = now.Add(retryAfter)
		return f.open(now)
	}
	if f.o.Keep > 0 {
		old = append(old, filepath.Base(name))
		for _, extra := range old[:max(0, len(old)-f.o.Keep)] {
			// One that cannot be removed is tried again at the next rotation.
			_ = os.Remove(filepath.Join(filepath.Dir(f.o.Path), extra))
		}
	}
	return f.open(now)
}

// Compiled when a file is rotated, which most starts of the agent do without.
var (
	sizeSuffix = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[1-9][0-9]{0,17}$`) })
	hourSuffix = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{2}(\.[0-9]+)?$`)
	})
)

const hourLayout = "2006-01-02-15"

// rotated returns the base names of the rotated files, oldest first.
func (f *File) rotated() []string {
	dir, base := filepath.Split(f.o.Path)
	if dir == "" {
		dir = "."
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	form := sizeSuffix
	if f.o.Rollover == Hourly {
		form = hourSuffix
	}
	var names []string
	for _, e := range entries {
		if suffix, ok := strings.CutPrefix(e.Name(), base+"."); ok && form().MatchString(suffix) && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if f.o.Rollover == BySize && len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return names
}

// nextName is the path the current file is moved to.
func (f *File) nextName(old []string) string {
	if f.o.Rollover == Hourly {
		name := f.o.Path + "." + f.hour.Format(hourLayout)
		// The same local hour comes twice when clocks are set back.
		for i := 2; slices.Contains(old, filepath.Base(name)); i++ {
			name = f.o.Path + "." + f.hour.Format(hourLayout) + "." + strconv.Itoa(i)
		}
		return name
	}
	newest := 0
	if len(old) > 0 {
		last := old[len(old)-1]
		newest, _ = strconv.Atoi(last[strings.LastIndexByte(last, '.')+1:])
	}
	return f.o.Path + "." + strconv.Itoa(newest+1)
}
