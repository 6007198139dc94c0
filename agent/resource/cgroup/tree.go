package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// tree is the part of the cgroup file system that holds the tasks.
type tree struct {
	files  files
	root   string // mount point
	layout Layout
	needs  []string // controllers without which limits do not work
}

// hierarchy is a mount of cgroup v1, with the controllers bound to it.
type hierarchy struct {
	dir         string
	controllers []string // or one word that is no controller, such as systemd
}

// hierarchies finds the mounts below the root of cgroup v1. systemd's own and the
// v2 tree of a hybrid set-up are among them: Docker makes its cgroups there too.
func hierarchies(f files, root string) ([]hierarchy, error) {
	names, err := f.Dirs(root)
	if err != nil {
		return nil, err
	}
	var out []hierarchy
	for _, name := range names {
		dir := path.Join(root, name)
		// Only whether it is there: to read it, the kernel lists every process.
		if err := f.Writable(path.Join(dir, "cgroup.procs")); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		out = append(out, hierarchy{dir, strings.Split(name, ",")})
	}
	return out, nil
}

// mounts are the directories below which the tree stands: one with cgroup v2.
func (t tree) mounts() ([]hierarchy, error) {
	if t.layout.Version == 2 {
		return []hierarchy{{t.root, t.needs}}, nil
	}
	hs, err := hierarchies(t.files, t.root)
	if err != nil {
		return nil, fmt.Errorf("find the cgroup hierarchies: %w", err)
	}
	return hs, nil
}

// with finds the hierarchy of each controller that is needed.
func (t tree) with(hs []hierarchy) (map[string]string, error) {
	dirs := make(map[string]string, len(t.needs))
	for _, h := range hs {
		for _, c := range h.controllers {
			if slices.Contains(t.needs, c) {
				dirs[c] = h.dir
			}
		}
	}
	for _, c := range t.needs {
		if dirs[c] == "" {
			return nil, fmt.Errorf("no %s controller below %q", c, t.root)
		}
	}
	return dirs, nil
}

// dirs lists what is below the tasks' parent in any hierarchy.
func (t tree) dirs() ([]string, error) {
	hs, err := t.mounts()
	if err != nil {
		return nil, err
	}
	var all []string
	for _, h := range hs {
		names, err := t.files.Dirs(path.Join(h.dir, t.layout.root()))
		if err != nil && !gone(err) {
			return nil, err
		}
		all = append(all, names...)
	}
	return all, nil
}

// youngerThan tells of tasks' cgroups whether they were made or changed after a time. The
// hierarchies are looked for once, whatever the number of cgroups.
func (t tree) youngerThan(at time.Time) func(id string) bool {
	hs, _ := t.mounts() // none: old
	return func(id string) bool {
		dir := t.layout.dir(id)
		return slices.ContainsFunc(hs, func(h hierarchy) bool {
			made, err := t.files.Made(path.Join(h.dir, dir))
			return err == nil && made.After(at)
		})
	}
}

// A process that has just ended holds its cgroup for a moment longer.
const (
	removeAttempts = 6
	removeDelay    = 10 * time.Millisecond // doubles
)

// removeDirs removes a task's cgroup in every hierarchy, or in none while a process
// runs in one of them.
func (t tree) removeDirs(ctx context.Context, id string) error {
	delay := removeDelay
	for attempt := 1; ; attempt++ {
		err := t.removeOnce(id)
		if err == nil || attempt == removeAttempts {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(delay):
			delay *= 2
		}
	}
}

func (t tree) removeOnce(id string) error {
	// Even empty children stay while something runs: they may be a container's own.
	if err := t.unused(id); err != nil {
		return err
	}
	hs, err := t.mounts()
	if err != nil {
		return err
	}
	var failed []error
	for _, h := range hs {
		failed = append(failed, removeTree(t.files, path.Join(h.dir, t.layout.dir(id))))
	}
	return errors.Join(failed...)
}

// unused fails with ErrBusy when a process runs in the task's cgroup.
func (t tree) unused(id string) error {
	hs, err := t.mounts()
	if err != nil {
		return err
	}
	for _, h := range hs {
		dir := path.Join(h.dir, t.layout.dir(id))
		busy, err := populated(t.files, dir)
		if err != nil {
			return fmt.Errorf("look into cgroup %q: %w", dir, err)
		}
		if busy {
			return fmt.Errorf("remove cgroup %q: %w", dir, ErrBusy)
		}
	}
	return nil
}

func (t tree) kill(id string) (ended []int, err error) {
	hs, err := t.mounts()
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, h := range hs {
		pids, err := killTree(t.files, path.Join(h.dir, t.layout.dir(id)))
		ended, failed = append(ended, pids...), append(failed, err)
	}
	slices.Sort(ended) // a process is in many hierarchies
	return slices.Compact(ended), errors.Join(failed...)
}

// taskIDs picks the tasks' ids out of names, sorted and each once.
func (l Layout) taskIDs(names []string) []string {
	var ids []string
	for _, name := range names {
		if id, ours := l.taskID(name); ours {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
