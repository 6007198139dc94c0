package cgroup

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// unified makes cgroups of version 2 where Docker itself makes those of containers.
type unified struct{ tree }

func (d unified) prepare(context.Context) error {
	if err := d.offered(); err != nil {
		return err
	}
	if err := d.parent(); err != nil {
		return err
	}
	// A cgroup that is there already hides that the file system cannot be written.
	if err := d.files.Writable(path.Join(d.root, rootName, "cgroup.subtree_control")); err != nil {
		return fmt.Errorf("use the cgroup of all tasks: %w", err)
	}
	return nil
}

func (d unified) create(_ context.Context, id string, l Limits) error {
	if err := d.parent(); err != nil {
		return err
	}
	dir := path.Join(d.root, d.layout.dir(id))
	if err := ensure(d.files, dir); err != nil {
		return fmt.Errorf("make cgroup: %w", err)
	}
	for _, s := range l.files(2) {
		if err := d.files.Write(path.Join(dir, s.file), s.value); err != nil {
			return fmt.Errorf("set %s to %q: %w", s.file, s.value, err)
		}
	}
	return d.enable(dir)
}

func (d unified) remove(ctx context.Context, id string) error { return d.removeDirs(ctx, id) }

// parent makes the cgroup of all tasks, with the controllers on above and below it.
func (d unified) parent() error {
	if err := d.enable(d.root); err != nil {
		return err
	}
	dir := path.Join(d.root, rootName)
	if err := ensure(d.files, dir); err != nil {
		return fmt.Errorf("make the cgroup of all tasks: %w", err)
	}
	return d.enable(dir)
}

// offered checks that the kernel has the controllers.
func (t tree) offered() error {
	text, err := t.files.Read(path.Join(t.root, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("read the cgroup controllers: %w", err)
	}
	if missing := without(t.needs, text); len(missing) > 0 {
		return fmt.Errorf("cgroup controllers %q are not available: %q has %q", missing, t.root, text)
	}
	return nil
}

// enable switches the controllers on for the children of a cgroup and looks whether
// they are.
func (t tree) enable(dir string) error {
	name := path.Join(dir, "cgroup.subtree_control")
	text, err := t.files.Read(name)
	if err != nil {
		return fmt.Errorf("read the enabled cgroup controllers: %w", err)
	}
	missing := without(t.needs, text)
	if len(missing) == 0 {
		return nil
	}
	if err := t.files.Write(name, "+"+strings.Join(missing, " +")); err != nil {
		return fmt.Errorf("enable cgroup controllers %q: %w", missing, err)
	}
	if text, err = t.files.Read(name); err != nil {
		return fmt.Errorf("read the enabled cgroup controllers: %w", err)
	}
	if missing = without(t.needs, text); len(missing) > 0 {
		return fmt.Errorf("cgroup controllers %q did not become enabled in %q", missing, dir)
	}
	return nil
}

// without returns the words that a list in a file lacks.
func without(words []string, list string) []string {
	have := strings.Fields(list)
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return slices.Contains(have, w) })
}
