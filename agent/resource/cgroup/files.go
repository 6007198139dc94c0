package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrBusy says that something still runs in a cgroup.
var ErrBusy = errors.New("cgroup is in use")

// files is the cgroup file system. Names have forward slashes.
type files interface {
	Read(name string) (string, error)
	Write(name, value string) error // to a file that exists
	Writable(name string) error     // changes nothing
	Dirs(name string) ([]string, error)
	Mkdir(name string) error
	Rmdir(name string) error
	Made(name string) (time.Time, error) // when a directory was made, or changed last
	// Kill kills a process while it is in a list of processes (cgroup.procs).
	Kill(list string, pid int) error
}

// osFiles is the host's.
type osFiles struct{}

func (osFiles) Read(name string) (string, error) {
	data, err := os.ReadFile(filepath.FromSlash(name))
	return strings.TrimSpace(string(data)), err
}

func (osFiles) Write(name, value string) error {
	f, err := os.OpenFile(filepath.FromSlash(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func (osFiles) Writable(name string) error {
	f, err := os.OpenFile(filepath.FromSlash(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func (osFiles) Dirs(name string) ([]string, error) {
	entries, err := os.ReadDir(filepath.FromSlash(name))
	var dirs []string
	for _, e := range entries {
		if e.IsDir() { // not the links that name one hierarchy twice
			dirs = append(dirs, e.Name())
		}
	}
	return dirs, err
}

func (osFiles) Mkdir(name string) error { return os.Mkdir(filepath.FromSlash(name), 0o755) }
func (osFiles) Rmdir(name string) error { return os.Remove(filepath.FromSlash(name)) }

func (osFiles) Made(name string) (time.Time, error) {
	info, err := os.Stat(filepath.FromSlash(name))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// Kill looks into the list once more when it holds the process: the number may be another
// one's by then.
func (o osFiles) Kill(list string, pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Release() }()
	text, err := o.Read(list)
	if err != nil || !slices.Contains(strings.Fields(text), strconv.Itoa(pid)) {
		return err
	}
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// ensure makes a cgroup unless it is there.
func ensure(f files, dir string) error {
	if err := f.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// populated reports whether a process is in the cgroup or below it.
func populated(f files, dir string) (bool, error) {
	procs, err := f.Read(path.Join(dir, "cgroup.procs"))
	if gone(err) {
		return false, nil
	}
	if err != nil || procs != "" {
		return err == nil, err
	}
	children, err := f.Dirs(dir)
	if err != nil && !gone(err) {
		return false, err
	}
	for _, c := range children {
		if yes, err := populated(f, path.Join(dir, c)); yes || err != nil {
			return yes, err
		}
	}
	return false, nil
}

// killTree kills the processes in a cgroup and below it and returns which they were.
// Those of another pid namespace have no number here: they stay.
func killTree(f files, dir string) (ended []int, err error) {
	list := path.Join(dir, "cgroup.procs")
	text, err := f.Read(list)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var failed []error
	for word := range strings.FieldsSeq(text) {
		pid, err := strconv.Atoi(word)
		if err != nil || pid <= 1 {
			continue
		}
		if err := f.Kill(list, pid); err != nil && !gone(err) {
			failed = append(failed, fmt.Errorf("kill process %d: %w", pid, err))
			continue
		}
		ended = append(ended, pid)
	}
	children, err := f.Dirs(dir)
	if err != nil && !gone(err) {
		failed = append(failed, err)
	}
	for _, c := range children {
		pids, err := killTree(f, path.Join(dir, c))
		ended, failed = append(ended, pids...), append(failed, err)
	}
	return ended, errors.Join(failed...)
}

// removeTree removes a cgroup and the empty ones below it. One that is not there
// counts as removed.
func removeTree(f files, dir string) error {
	children, err := f.Dirs(dir)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list cgroup %q: %w", dir, err)
	}
	for _, c := range children {
		if err := removeTree(f, path.Join(dir, c)); err != nil {
			return err
		}
	}
	if err := f.Rmdir(dir); err != nil && !gone(err) {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	return nil
}

// gone tells that a cgroup vanished. Reading a file of one that is being removed
// gives ENODEV.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV)
}
