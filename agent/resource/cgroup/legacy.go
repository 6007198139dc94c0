package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// probes are files whose presence tells that the kernel can do what limits need.
var probes = map[string]string{"cpu": "cpu.cfs_quota_us", "memory": "memory.limit_in_bytes", "pids": "pids.max"}

// legacy makes cgroups of version 1: one in every hierarchy.
type legacy struct{ tree }

func (d legacy) prepare(context.Context) error {
	hs, err := d.mounts()
	if err != nil {
		return err
	}
	dirs, err := d.with(hs)
	if err != nil {
		return err
	}
	if err := d.ensure(hs, rootName); err != nil {
		return err
	}
	for _, c := range d.needs {
		name := path.Join(dirs[c], rootName, probes[c])
		if err := d.files.Writable(name); err != nil {
			return fmt.Errorf("use the %s controller: %w", c, err)
		}
	}
	return nil
}

func (d legacy) create(_ context.Context, id string, l Limits) error {
	hs, err := d.mounts()
	if err != nil {
		return err
	}
	dirs, err := d.with(hs)
	if err != nil {
		return err
	}
	for _, dir := range []string{rootName, d.layout.dir(id)} {
		if err := d.ensure(hs, dir); err != nil {
			return err
		}
	}
	if err := d.countChildren(path.Join(dirs["memory"], d.layout.dir(id))); err != nil {
		return err
	}
	for _, s := range l.files(1) {
		name := path.Join(dirs[s.controller], d.layout.dir(id), s.file)
		if err := d.files.Write(name, s.value); err != nil {
			return fmt.Errorf("set %s to %q: %w", s.file, s.value, err)
		}
	}
	return nil
}

func (d legacy) remove(ctx context.Context, id string) error { return d.removeDirs(ctx, id) }

// ensure makes a cgroup in every hierarchy. Where no limit of ours stands it may
// fail: Docker makes what it needs.
func (d legacy) ensure(hs []hierarchy, dir string) error {
	for _, h := range hs {
		full := path.Join(h.dir, dir)
		err := ensure(d.files, full)
		if err == nil {
			err = d.fillCPUSet(full)
		}
		if err != nil && d.needed(h) {
			return fmt.Errorf("make cgroup: %w", err)
		}
	}
	return nil
}

// fillCPUSet gives a new cgroup the processors and memory nodes of its parent where
// the kernel leaves them empty; processes cannot enter it otherwise.
func (d legacy) fillCPUSet(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := d.files.Read(path.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another hierarchy
		}
		if err != nil {
			return err
		}
		if value != "" {
			continue
		}
		if value, err = d.files.Read(path.Join(path.Dir(dir), file)); err != nil {
			return err
		}
		if err := d.files.Write(path.Join(dir, file), value); err != nil {
			return err
		}
	}
	return nil
}

// countChildren makes the memory of the containers count for the task. New kernels
// always do, and refuse to hear about it once there are children.
func (d legacy) countChildren(dir string) error {
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
