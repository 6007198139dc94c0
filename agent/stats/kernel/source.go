package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ecsagent/agent/stats"
)

// File is a file of the kernel's, open for reading.
type File interface {
	ReadAt(p []byte, off int64) (int, error)
	Close() error
}

// Options make a Source.
type Options struct {
	Cgroup  string // where cgroups are mounted, usually /sys/fs/cgroup
	Proc    string // usually /proc
	Version int    // of the cgroup interface, 1 or 2
	// Memory is the host's, in bytes: the limit of containers without one.
	Memory uint64
	// Open opens a file; default os.Open.
	Open func(name string) (File, error)
	// Devices names the interfaces in the network namespace of a process that are
	// hardware or VLANs: those given to a task. Nil: there are none.
	Devices func(pid int) ([]string, error)
}

// Source implements stats.Source.
type Source struct {
	opt         Options
	stat        File                // /proc/stat
	buf         []byte              // of the reading under way
	devices     map[string][]string // of tasks' network namespaces, by container id and pid
	controllers map[string]string   // see tree
	// elsewhere is where a container was found in an unusual place, with anyID for its id.
	elsewhere string
}

// New makes a Source. Nothing is opened yet.
func New(o Options) *Source {
	if o.Open == nil {
		o.Open = func(name string) (File, error) { return os.Open(name) }
	}
	return &Source{opt: o, buf: make([]byte, 16<<10), devices: make(map[string][]string)}
}

// Close lets go of what the Source holds open. Its Meters are closed by who opened
// them.
func (s *Source) Close() {
	if s.stat != nil {
		s.stat.Close()
	}
}

// Host implements stats.Source.
func (s *Source) Host(context.Context) (stats.Host, error) {
	if s.stat == nil {
		f, err := s.opt.Open(filepath.Join(s.opt.Proc, "stat"))
		if err != nil {
			return stats.Host{}, fmt.Errorf("open the host's CPU time: %w", err)
		}
		s.stat = f
	}
	text, err := s.read(s.stat)
	if err != nil {
		return stats.Host{}, fmt.Errorf("read the host's CPU time: %w", err)
	}
	return parseHost(text)
}

// read reads a file whole, into the Source's buffer.
func (s *Source) read(f File) ([]byte, error) {
	filled := 0
	for {
		n, err := f.ReadAt(s.buf[filled:], int64(filled))
		filled += n
		if err != nil && !isEnd(err) {
			return nil, err
		}
		if filled < len(s.buf) {
			return s.buf[:filled], nil
		}
		s.buf = slices.Grow(s.buf, len(s.buf))
		s.buf = s.buf[:cap(s.buf)]
	}
}

// Open implements stats.Source.
func (s *Source) Open(_ context.Context, t stats.Target) (stats.Meter, error) {
	if !validID(t.ID) {
		return nil, fmt.Errorf("open cgroup: %q is no id of a container", t.ID)
	}
	tree, err := s.tree()
	if err != nil {
		return nil, err
	}
	dir, err := s.locate(tree.probe(), t)
	if err != nil {
		return nil, err
	}
	m := &meter{source: s}
	if s.opt.Version == 2 {
		err = m.openUnified(filepath.Join(s.opt.Cgroup, dir))
	} else {
		err = m.openLegacy(tree, dir)
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("open counters of container %s: %w", t.ID, err)
	}
	if t.OwnNetwork {
		m.net = s.openNetwork(filepath.Join(tree.probe(), dir))
	}
	return m, nil
}

// tree is where the cgroups of each controller are.
type tree struct {
	root        string
	controllers map[string]string // directory by controller; empty with version 2
}

// probe is a directory below which every container has a cgroup.
func (t tree) probe() string {
	for _, c := range []string{"memory", "cpuacct", "cpu"} {
		if dir, ok := t.controllers[c]; ok {
			return dir
		}
	}
	return t.root
}

// tree finds the hierarchies, once: with version 1, directories that are named after
// their controllers.
func (s *Source) tree() (tree, error) {
	t := tree{root: s.opt.Cgroup, controllers: s.controllers}
	if s.opt.Version == 2 || t.controllers != nil {
		return t, nil
	}
	entries, err := os.ReadDir(s.opt.Cgroup)
	if err != nil {
		return tree{}, fmt.Errorf("find the cgroup hierarchies: %w", err)
	}
	t.controllers = make(map[string]string)
	for _, e := range entries {
		for _, c := range strings.Split(e.Name(), ",") {
			t.controllers[c] = filepath.Join(s.opt.Cgroup, e.Name())
		}
	}
	if len(t.controllers) == 0 {
		return tree{}, fmt.Errorf("no cgroup hierarchy in %q", s.opt.Cgroup)
	}
	s.controllers = t.controllers
	return t, nil
}

// validID reports whether an id can be an element of a path and of nothing else.
func validID(id string) bool {
	return len(id) >= 8 && len(id) <= 128 && strings.IndexFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

var errNoCgroup = errors.New("no cgroup of the container")
