package cgroup

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// sliced has systemd make the cgroups, of either version.
type sliced struct {
	tree
	slices Slices
}

func (d sliced) prepare(ctx context.Context) error {
	hs, err := d.mounts()
	if err != nil {
		return err
	}
	if d.layout.Version == 1 {
		_, err = d.with(hs)
	} else if err = d.offered(); err == nil {
		err = d.enable(d.root)
	}
	if err != nil {
		return err
	}
	properties := Limits{}.properties(d.layout.Version)
	if err := d.slices.StartSlice(ctx, rootSlice, "Amazon ECS tasks", properties); err != nil {
		return fmt.Errorf("start slice %q: %w", rootSlice, err)
	}
	return nil
}

func (d sliced) create(ctx context.Context, id string, l Limits) error {
	properties := l.properties(d.layout.Version)
	if err := d.slices.StartSlice(ctx, sliceName(id), "Amazon ECS task "+id, properties); err != nil {
		return fmt.Errorf("start slice %q: %w", sliceName(id), err)
	}
	return d.verify(id, l)
}

// verify looks whether the limits hold: systemd is silent about a controller that it
// cannot use.
func (d sliced) verify(id string, l Limits) error {
	hs, err := d.mounts()
	if err != nil {
		return err
	}
	dirs, err := d.with(hs)
	if err != nil {
		return err
	}
	for _, s := range l.files(d.layout.Version) {
		want, bound := bounds(s)
		if !bound {
			continue
		}
		got, err := d.files.Read(path.Join(dirs[s.controller], d.layout.dir(id), s.file))
		if err != nil {
			return fmt.Errorf("look whether %s was set: %w", s.file, err)
		}
		word, _, _ := strings.Cut(got, " ")
		if n, err := strconv.ParseInt(word, 10, 64); err != nil || n < 0 || n > want {
			return fmt.Errorf("systemd left %s at %q, want at most %d", s.file, got, want)
		}
	}
	return nil
}

// bounds tells which settings are upper bounds that systemd sets, and the highest
// value that is right. A quota may differ by systemd's rounding to whole percents
// and by its choice of a period, and only has to be there.
func bounds(s setting) (int64, bool) {
	switch s.file {
	case "memory.max", "memory.limit_in_bytes", "pids.max":
		n, err := strconv.ParseInt(s.value, 10, 64)
		return n, err == nil
	case "cpu.max", "cpu.cfs_quota_us":
		return maxQuota, true
	}
	return 0, false
}

const maxQuota = maxCPU * 1_000_000 // µs

func (d sliced) remove(ctx context.Context, id string) error {
	// To stop a slice is to stop all that runs in it.
	if err := d.unused(id); err != nil {
		return err
	}
	if err := d.slices.StopSlice(ctx, sliceName(id)); err != nil {
		return fmt.Errorf("stop slice %q: %w", sliceName(id), err)
	}
	// Docker makes cgroups for controllers that systemd does not look after.
	return d.removeDirs(ctx, id)
}
