package cgroup

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const mount = "/sys/fs/cgroup"

// fakeTree is a cgroup file system: directories come with their files, go only when
// nothing is in them, and no other file can be made.
type fakeTree struct {
	version  int
	nodes    map[string]*node
	readOnly bool
	deaf     bool // subtree_control takes what is written and forgets it
	immortal bool // nothing can be killed
	busy     int  // so many removals fail, as after a process has just ended
	writes   int
}

type node struct {
	files map[string]string
	made  time.Time
}

// newV1 is a tree of version 1 as distributions mount it, with systemd's own
// hierarchy and a directory that is none.
func newV1() *fakeTree {
	t := &fakeTree{version: 1, nodes: map[string]*node{mount: {}, mount + "/notes": {}}}
	for _, h := range []string{"cpu,cpuacct", "cpuset", "memory", "pids", "freezer", "systemd"} {
		t.nodes[path.Join(mount, h)] = &node{files: t.content(path.Join(mount, h))}
	}
	return t
}

func newV2() *fakeTree {
	t := &fakeTree{version: 2, nodes: map[string]*node{}}
	t.nodes[mount] = &node{files: map[string]string{
		"cgroup.procs": "1", "cgroup.controllers": "cpuset cpu io memory pids", "cgroup.subtree_control": "memory",
	}}
	return t
}

// content is what the kernel puts into a new directory.
func (t *fakeTree) content(dir string) map[string]string {
	f := map[string]string{"cgroup.procs": ""}
	if t.version == 2 {
		on := t.nodes[path.Dir(dir)].files["cgroup.subtree_control"]
		f["cgroup.controllers"], f["cgroup.subtree_control"] = on, ""
		for c, files := range map[string]map[string]string{
			"cpu":    {"cpu.max": "max 100000", "cpu.weight": "100"},
			"memory": {"memory.max": "max"},
			"pids":   {"pids.max": "max"},
		} {
			if slices.Contains(strings.Fields(on), c) {
				maps.Copy(f, files)
			}
		}
		return f
	}
	switch name, _, _ := strings.Cut(strings.TrimPrefix(dir, mount+"/"), "/"); name {
	case "cpu,cpuacct":
		maps.Copy(f, map[string]string{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "-1", "cpu.shares": "1024"})
	case "memory":
		maps.Copy(f, map[string]string{"memory.limit_in_bytes": "9223372036854771712", "memory.use_hierarchy": "0"})
	case "pids":
		f["pids.max"] = "max"
	}
	return f
}

func fail(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

func (t *fakeTree) file(op, name string) (map[string]string, error) {
	n := t.nodes[path.Dir(name)]
	if n == nil {
		return nil, fail(op, name, fs.ErrNotExist)
	}
	if _, ok := n.files[path.Base(name)]; !ok {
		return nil, fail(op, name, fs.ErrNotExist)
	}
	return n.files, nil
}

func (t *fakeTree) Read(name string) (string, error) {
	f, err := t.file("read", name)
	if err != nil {
		return "", err
	}
	return f[path.Base(name)], nil
}

func (t *fakeTree) Writable(name string) error {
	if t.readOnly {
		return fail("open", name, syscall.EROFS)
	}
	_, err := t.file("open", name)
	return err
}

func (t *fakeTree) Write(name, value string) error {
	if err := t.Writable(name); err != nil {
		return err
	}
	t.writes++
	f, _ := t.file("write", name)
	if path.Base(name) != "cgroup.subtree_control" {
		f[path.Base(name)] = value
		return nil
	}
	on := strings.Fields(f["cgroup.subtree_control"])
	for _, w := range strings.Fields(value) {
		c := strings.TrimPrefix(w, "+")
		if !slices.Contains(strings.Fields(f["cgroup.controllers"]), c) {
			return fail("write", name, syscall.EINVAL)
		}
		on = append(on, c)
	}
	if !t.deaf {
		f["cgroup.subtree_control"] = strings.Join(on, " ")
	}
	return nil
}

func (t *fakeTree) Dirs(name string) ([]string, error) {
	if t.nodes[name] == nil {
		return nil, fail("open", name, fs.ErrNotExist)
	}
	var out []string
	for dir := range t.nodes {
		if path.Dir(dir) == name && dir != name {
			out = append(out, path.Base(dir))
		}
	}
	slices.Sort(out)
	return out, nil
}

func (t *fakeTree) Mkdir(name string) error {
	switch {
	case t.nodes[name] != nil:
		return fail("mkdir", name, fs.ErrExist)
	case t.readOnly:
		return fail("mkdir", name, syscall.EROFS)
	case t.nodes[path.Dir(name)] == nil:
		return fail("mkdir", name, fs.ErrNotExist)
	}
	t.nodes[name] = &node{t.content(name), time.Now()}
	return nil
}

func (t *fakeTree) Made(name string) (time.Time, error) {
	if n := t.nodes[name]; n != nil {
		return n.made, nil
	}
	return time.Time{}, fail("stat", name, fs.ErrNotExist)
}

func (t *fakeTree) Rmdir(name string) error {
	n := t.nodes[name]
	if n == nil {
		return fail("rmdir", name, fs.ErrNotExist)
	}
	children, _ := t.Dirs(name)
	if t.busy > 0 || len(children) > 0 || n.files["cgroup.procs"] != "" {
		t.busy--
		return fail("rmdir", name, syscall.EBUSY)
	}
	delete(t.nodes, name)
	return nil
}

// Kill ends a process everywhere.
func (t *fakeTree) Kill(list string, pid int) error {
	if _, err := t.file("read", list); err != nil {
		return err
	}
	if t.immortal {
		return syscall.EPERM
	}
	for _, n := range t.nodes {
		if n.files["cgroup.procs"] == strconv.Itoa(pid) {
			n.files["cgroup.procs"] = ""
		}
	}
	return nil
}

// make makes a cgroup as Docker does, in every hierarchy.
func (t *fakeTree) make(dir string) {
	mounts := []string{mount}
	if t.version == 1 {
		mounts = nil
		for _, h := range []string{"cpu,cpuacct", "cpuset", "memory", "pids", "freezer", "systemd"} {
			mounts = append(mounts, path.Join(mount, h))
		}
	}
	for _, m := range mounts {
		for i := range strings.Count(dir, "/") + 1 {
			_ = t.Mkdir(path.Join(m, path.Join(strings.Split(dir, "/")[:i+1]...)))
		}
	}
}

// fakeSystemd makes slices in a fakeTree.
type fakeSystemd struct {
	tree    *fakeTree
	started map[string]map[string]any
	stopped []string
	forget  string // a property that it takes and does not apply
	err     error
}

func (s *fakeSystemd) StartSlice(_ context.Context, name, _ string, properties map[string]any) error {
	if s.err != nil {
		return s.err
	}
	if s.started == nil {
		s.started = map[string]map[string]any{}
	}
	s.started[name] = properties
	dir := name
	if name != rootSlice {
		dir = path.Join(rootSlice, name)
	}
	s.tree.make(dir)
	if s.tree.version == 2 { // systemd enables controllers wherever a unit needs them
		for _, d := range []string{rootSlice, dir} {
			full := path.Join(mount, d)
			had := s.tree.nodes[full].files
			s.tree.nodes[full].files = s.tree.content(full)
			maps.Copy(s.tree.nodes[full].files, had)
			s.tree.nodes[full].files["cgroup.subtree_control"] = s.tree.nodes[mount].files["cgroup.subtree_control"]
		}
	}
	for p, file := range map[string]string{
		"MemoryMax": "memory.max", "MemoryLimit": "memory/memory.limit_in_bytes", "TasksMax": "pids.max",
		"CPUQuotaPerSecUSec": "cpu.max",
	} {
		v, ok := properties[p]
		if !ok || p == s.forget {
			continue
		}
		base, text := mount, fmt.Sprint(v)
		if s.tree.version == 1 {
			switch p {
			case "CPUQuotaPerSecUSec":
				base, file, text = base+"/cpu,cpuacct", "cpu.cfs_quota_us", fmt.Sprint(v.(uint64)/10)
			case "TasksMax":
				base += "/pids"
			case "MemoryLimit":
				base, file = base+"/memory", "memory.limit_in_bytes"
			}
		} else if p == "CPUQuotaPerSecUSec" {
			text = fmt.Sprintf("%d 100000", v.(uint64)/10)
		}
		if err := s.tree.Write(path.Join(base, dir, file), text); err != nil {
			return err
		}
	}
	return nil
}

func (s *fakeSystemd) StopSlice(_ context.Context, name string) error {
	if s.err != nil {
		return s.err
	}
	s.stopped = append(s.stopped, name)
	below := mount
	if s.tree.version == 1 {
		below += "/memory"
	}
	dir := path.Join(below, rootSlice, name)
	maps.DeleteFunc(s.tree.nodes, func(n string, _ *node) bool { return n == dir || strings.HasPrefix(n, dir+"/") })
	return nil
}
