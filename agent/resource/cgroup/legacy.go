package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
)

// probes are files whose presence tells that the kernel can do what limits need.
var probes = map[string]string{"cpu": "cpu.cfs_quota_us", "memory": "memory.limit_in_bytes", "pids": "pids.max"}

// legacy makes cgroups of version 1: one in each hierarchy where limits stand. In the
// others there is nothing to say, and Docker makes what the containers need.
type legacy struct {
	tree
	at map[string]string // the hierarchy of each controller, since prepare
}

func (d *legacy) prepare(context.Context) (err error) {
	if d.at, err = d.parent(); err != nil {
		return err
	}
	for _, c := range d.needs {
		name := path.Join(d.at[c], rootName, probes[c])
		if err := d.files.Writable(name); err != nil {
			return fmt.Errorf("use the %s controller: %w", c, err)
		}
	}
	return nil
}

// parent finds the hierarchies and makes the parent of all tasks' cgroups in them.
func (d *legacy) parent() (map[string]string, error) {
	hs, err := d.mounts()
	if err != nil {
		return nil, err
	}
	at, err := d.with(hs)
	if err != nil {
		return nil, err
	}
	return at, d.ensure(at, rootName)
}

func (d *legacy) create(_ context.Context, id string, l Limits) error {
	at, dir := d.at, d.layout.dir(id)
	err := d.ensure(at, dir)
	if errors.Is(err, fs.ErrNotExist) { // somebody removed the parent
		if at, err = d.parent(); err == nil {
			err = d.ensure(at, dir)
		}
	}
	if err != nil {
		return err
	}
	if err := d.countChildren(path.Join(at["memory"], dir)); err != nil {
		return err
	}
	for _, s := range l.files(1) {
		if err := d.files.Write(path.Join(at[s.controller], dir, s.file), s.value); err != nil {
			return fmt.Errorf("set %s to %q: %w", s.file, s.value, err)
		}
	}
	return nil
}

func (d *legacy) remove(ctx context.Context, id string) error { return d.removeDirs(ctx, id) }

// ensure makes a cgroup in each of the hierarchies.
func (d *legacy) ensure(at map[string]string, dir string) error {
	for _, h := range slices.Compact(slices.Sorted(maps.Values(at))) {
		if err := ensure(d.files, path.Join(h, dir)); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
	}
	return nil
}

// countChildren makes the memory of the containers count for the task. New kernels
// always do, and refuse to hear about it once there are children.
func (d *legacy) countChildren(dir string) error {
	name := path.Join(dir, "memory.use_hierarchy")
	value, err := d.files.Read(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && value == "1" {
		return nil
	}
	if err == nil {
		err = d.files.Write(name, "1")
	}
	if err != nil {
		return fmt.Errorf("set memory.use_hierarchy: %w", err)
	}
	return nil
}
