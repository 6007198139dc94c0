package cgroup

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/task"
)

// rig is a Manager on a fake tree, initialised.
type rig struct {
	*Manager
	tree    *fakeTree
	systemd *fakeSystemd
}

func newRig(t *testing.T, tree *fakeTree, d Driver, set Settings) rig {
	t.Helper()
	r := newRigRaw(tree, d, set)
	if err := r.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func newRigRaw(tree *fakeTree, d Driver, set Settings) rig {
	s := &fakeSystemd{tree: tree}
	m := New(Options{Path: mount, Driver: string(d), Settings: set, Slices: s})
	m.files = tree
	return rig{m, tree, s}
}

// values reads files of a task's cgroup; names begin below the mount point, with @
// for the cgroup.
func (r rig) values(s *task.Spec, names ...string) map[string]string {
	out := map[string]string{}
	for _, n := range names {
		v, err := r.tree.Read(path.Join(mount, strings.Replace(n, "@", r.Layout().dir(s.ID()), 1)))
		if err != nil {
			v = err.Error()
		}
		out[n] = v
	}
	return out
}

func layouts() map[string]func(*testing.T, Settings) rig {
	return map[string]func(*testing.T, Settings) rig{
		"version 1, cgroupfs": func(t *testing.T, s Settings) rig { return newRig(t, newV1(), Cgroupfs, s) },
		"version 2, cgroupfs": func(t *testing.T, s Settings) rig { return newRig(t, newV2(), Cgroupfs, s) },
		"version 1, systemd":  func(t *testing.T, s Settings) rig { return newRig(t, newV1(), Systemd, s) },
		"version 2, systemd":  func(t *testing.T, s Settings) rig { return newRig(t, newV2(), Systemd, s) },
	}
}

func TestCreate(t *testing.T) {
	bounded, weighed := spec(0.5, 512), spec(0, 0, shares(1024)...)
	want := map[string][2]map[string]string{
		"version 1, cgroupfs": {{
			"cpu,cpuacct/@/cpu.cfs_period_us": "100000", "cpu,cpuacct/@/cpu.cfs_quota_us": "50000", "cpu,cpuacct/@/cpu.shares": "1024",
			"memory/@/memory.limit_in_bytes": "536870912", "memory/@/memory.use_hierarchy": "1", "pids/@/pids.max": "50",
		}, {
			"cpu,cpuacct/@/cpu.cfs_quota_us": "-1", "cpu,cpuacct/@/cpu.shares": "1024", "memory/@/memory.limit_in_bytes": "9223372036854771712",
		}},
		"version 2, cgroupfs": {{
			"@/cpu.max": "50000 100000", "@/cpu.weight": "100", "@/memory.max": "536870912", "@/pids.max": "50",
			"@/cgroup.subtree_control": "cpu memory pids", "ecs/cgroup.subtree_control": "cpu memory pids", "cgroup.subtree_control": "memory cpu pids",
		}, {
			"@/cpu.max": "max 100000", "@/cpu.weight": "100", "@/memory.max": "max",
		}},
		"version 1, systemd": {{
			"cpu,cpuacct/@/cpu.cfs_quota_us": "50000", "memory/@/memory.limit_in_bytes": "536870912", "pids/@/pids.max": "50",
		}, {
			"memory/@/memory.limit_in_bytes": "9223372036854771712",
		}},
		"version 2, systemd": {{
			"@/cpu.max": "50000 100000", "@/memory.max": "536870912", "@/pids.max": "50", "cgroup.subtree_control": "memory cpu pids",
		}, {
			"@/memory.max": "max",
		}},
	}
	for name, make := range layouts() {
		t.Run(name, func(t *testing.T) {
			for i, s := range []*task.Spec{bounded, weighed} {
				r := make(t, Settings{Pids: 50})
				for range 2 { // the second time over what is there
					parent, err := r.Create(t.Context(), s)
					if err != nil || parent != Parent(s, r.Layout()) || parent == "" || parent != r.Parent(s) {
						t.Fatalf("parent %q, %v", parent, err)
					}
					if diff := cmp.Diff(want[name][i], r.values(s, slices.Collect(maps.Keys(want[name][i]))...)); diff != "" {
						t.Errorf("files (-want +got)\n%s", diff)
					}
				}
			}
		})
	}
}

// A cgroup that a crash left without its limits gets them.
func TestCreateCompletes(t *testing.T) {
	for name, make := range layouts() {
		t.Run(name, func(t *testing.T) {
			r, s := make(t, Settings{}), spec(1, 4)
			r.tree.make(r.Layout().dir(s.ID()))
			if _, err := r.Create(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			file := map[int]string{1: "memory/@/memory.limit_in_bytes", 2: "@/memory.max"}[r.Layout().Version]
			if got := r.values(s, file)[file]; got != "4194304" {
				t.Errorf("limit is %q", got)
			}
		})
	}
}

// Where no limit stands nothing is made: that is Docker's.
func TestCreateMakesNoMore(t *testing.T) {
	r, s := newRig(t, newV1(), Cgroupfs, Settings{}), spec(1, 4)
	if _, err := r.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	var made []string
	for dir := range r.tree.nodes {
		if strings.HasSuffix(dir, r.Layout().dir(s.ID())) {
			made = append(made, strings.TrimPrefix(dir, mount))
		}
	}
	slices.Sort(made)
	if want := []string{"/cpu,cpuacct/ecs/" + s.ID(), "/memory/ecs/" + s.ID()}; !slices.Equal(made, want) {
		t.Errorf("made %q, want %q", made, want)
	}
}

// Somebody may remove the tasks' parent while no task runs.
func TestCreateAfterTheParentWent(t *testing.T) {
	for name, make := range layouts() {
		t.Run(name, func(t *testing.T) {
			r := make(t, Settings{})
			for dir := range r.tree.nodes {
				if path.Base(dir) == r.Layout().root() {
					delete(r.tree.nodes, dir)
				}
			}
			if _, err := r.Create(t.Context(), spec(1, 4)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	for name, make := range layouts() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := make(t, Settings{}), spec(1, 4)
				if err := r.Remove(t.Context(), s); err != nil {
					t.Errorf("one that was never made: %v", err)
				}
				if _, err := r.Create(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				dir := r.Layout().dir(s.ID())
				r.tree.make(dir + "/container/nested") // what a container left
				r.tree.busy = 2
				if ids, err := r.List(t.Context()); err != nil || !slices.Equal(ids, []string{s.ID()}) {
					t.Errorf("listed %q, %v", ids, err)
				}
				for range 2 {
					if err := r.Remove(t.Context(), s); err != nil {
						t.Errorf("remove: %v", err)
					}
				}
				for left := range r.tree.nodes {
					if strings.Contains(left, s.ID()) {
						t.Errorf("left %s", left)
					}
				}
				if ids, err := r.List(t.Context()); err != nil || len(ids) > 0 {
					t.Errorf("listed %q, %v", ids, err)
				}
			})
		})
	}
}

// What runs goes on running, with all that is in its cgroup.
func TestRemoveInUse(t *testing.T) {
	for name, make := range layouts() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := make(t, Settings{}), spec(1, 4)
				if _, err := r.Create(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				dir := r.Layout().dir(s.ID())
				r.tree.make(dir + "/container/nested")
				below := map[int]string{1: "/memory/", 2: "/"}[r.Layout().Version] // in one hierarchy is enough
				r.tree.nodes[mount+below+dir+"/container"].files["cgroup.procs"] = "4711"
				before := len(r.tree.nodes)
				if err := r.Remove(t.Context(), s); !errors.Is(err, ErrBusy) {
					t.Errorf("error %v, want ErrBusy", err)
				}
				if len(r.systemd.stopped) > 0 || len(r.tree.nodes) != before {
					t.Errorf("stopped %q, %d cgroups of %d are left", r.systemd.stopped, len(r.tree.nodes), before)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				if err := r.Remove(ctx, s); !errors.Is(err, ErrBusy) {
					t.Errorf("with little time: %v", err)
				}
			})
		})
	}
}

func TestListNamesTasksOnly(t *testing.T) {
	for name, make := range layouts() {
		t.Run(name, func(t *testing.T) {
			r := make(t, Settings{})
			for _, id := range []string{"b", "a-1"} {
				r.tree.make(r.Layout().dir(id))
			}
			r.tree.make(r.Layout().root() + "/not.a-task.slice")
			if ids, err := r.List(t.Context()); err != nil || !slices.Equal(ids, []string{"a-1", "b"}) {
				t.Errorf("listed %q, %v", ids, err)
			}
		})
	}
}

func TestInitSaysWhyNot(t *testing.T) {
	gone := func(tree *fakeTree, names ...string) *fakeTree {
		for _, n := range names {
			delete(tree.nodes, path.Join(mount, n))
		}
		return tree
	}
	offered := func(list string) *fakeTree {
		tree := newV2()
		tree.nodes[mount].files["cgroup.controllers"] = list
		return tree
	}
	readOnly := func(tree *fakeTree) *fakeTree { tree.readOnly = true; return tree }
	existing := func(tree *fakeTree) *fakeTree { tree.make("ecs"); return tree }
	deaf := newV2()
	deaf.deaf = true
	full := newV2()
	full.nodes[mount].files["cgroup.subtree_control"] = "cpu memory"
	full.make("ecs")
	full.nodes[mount+"/ecs"].files["cgroup.subtree_control"] = "cpu memory"
	noQuota := existing(newV1())
	delete(noQuota.nodes[mount+"/cpu,cpuacct/ecs"].files, "cpu.cfs_quota_us")
	for name, c := range map[string]struct {
		tree   *fakeTree
		driver Driver
		pids   int
		err    string
	}{
		"v1 without memory":            {gone(newV1(), "memory"), Cgroupfs, 0, "no memory controller"},
		"v1 without memory, systemd":   {gone(newV1(), "memory"), Systemd, 0, "no memory controller"},
		"v1 without pids":              {gone(newV1(), "pids"), Cgroupfs, 9, "no pids controller"},
		"v1 without pids, none wanted": {gone(newV1(), "pids"), Cgroupfs, 0, ""},
		"v1 without quotas":            {noQuota, Cgroupfs, 0, "use the cpu controller"},
		"v1 read-only":                 {readOnly(newV1()), Cgroupfs, 0, "read-only file system"},
		"v1 read-only, made before":    {readOnly(existing(newV1())), Cgroupfs, 0, "read-only file system"},
		"v2 without memory":            {offered("cpu io"), Cgroupfs, 0, `["memory"] are not available`},
		"v2 without memory, systemd":   {offered("cpu io"), Systemd, 0, `["memory"] are not available`},
		"v2 without pids":              {offered("cpu memory"), Cgroupfs, 9, `["pids"] are not available`},
		"v2 read-only":                 {readOnly(newV2()), Cgroupfs, 0, "read-only file system"},
		"v2 read-only, all there":      {readOnly(full), Cgroupfs, 0, "read-only file system"},
		"v2 not enabled":               {deaf, Systemd, 0, "did not become enabled"},
		"no such driver":               {newV2(), "none", 0, `driver "none"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigRaw(c.tree, c.driver, Settings{Pids: c.pids})
			err := r.Init(t.Context())
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if err != nil && (r.Parent(spec(1, 1)) != "" || r.Layout() != Layout{}) {
				t.Error("the manager seems to work")
			}
		})
	}
	t.Run("no systemd", func(t *testing.T) {
		r := newRigRaw(newV2(), Systemd, Settings{})
		r.systemd.err = errors.New("connection refused")
		if err := r.Init(t.Context()); !errors.Is(err, r.systemd.err) {
			t.Errorf("error %v", err)
		}
		r.opt.Slices = nil
		if err := r.Init(t.Context()); err == nil {
			t.Error("no error without a connection")
		}
	})
}

func TestCreateFails(t *testing.T) {
	for name, c := range map[string]struct {
		spec  *task.Spec
		wrong func(rig)
		make  string
		err   string
	}{
		"no such file": {spec(1, 4), func(r rig) {
			r.tree.make("ecs/" + spec(1, 4).ID())
			delete(r.tree.nodes[mount+"/memory/ecs/"+spec(1, 4).ID()].files, "memory.limit_in_bytes")
		}, "version 1, cgroupfs", "set memory.limit_in_bytes"},
		"no controller": {spec(1, 4), func(r rig) {
			delete(r.tree.nodes, mount+"/memory")
			delete(r.tree.nodes, mount+"/memory/ecs")
		}, "version 1, cgroupfs", "no memory controller"},
		"read-only":        {spec(1, 4), func(r rig) { r.tree.readOnly = true }, "version 2, cgroupfs", "read-only"},
		"bad id":           {&task.Spec{ARN: "task/.."}, func(rig) {}, "version 1, cgroupfs", "cannot name a cgroup"},
		"memory":           {spec(1, 4, task.Container{Memory: 5}), func(rig) {}, "version 1, cgroupfs", "greater than task memory"},
		"systemd":          {spec(1, 4), func(r rig) { r.systemd.err = errors.New("refused") }, "version 2, systemd", "start slice"},
		"memory forgotten": {spec(1, 4), func(r rig) { r.systemd.forget = "MemoryMax" }, "version 2, systemd", `left memory.max at "max"`},
		"CPU forgotten":    {spec(1, 4), func(r rig) { r.systemd.forget = "CPUQuotaPerSecUSec" }, "version 1, systemd", `left cpu.cfs_quota_us at "-1"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := layouts()[c.make](t, Settings{})
			c.wrong(r)
			parent, err := r.Create(t.Context(), c.spec)
			if err == nil || parent != "" || !strings.Contains(err.Error(), c.err) {
				t.Fatalf("parent %q, error %v, want %q", parent, err, c.err)
			}
			var reason *task.Error
			if !errors.As(err, &reason) || reason.Error() != "CgroupError: Agent could not create task's platform resources" {
				t.Errorf("reason %v", reason)
			}
			if name == "read-only" && errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestHostileIDsReachNothing(t *testing.T) {
	r := newRig(t, newV1(), Cgroupfs, Settings{})
	before := len(r.tree.nodes)
	for _, id := range []string{"", ".", ".."} {
		if err := r.RemoveID(t.Context(), id); err != nil {
			t.Errorf("remove %q: %v", id, err)
		}
	}
	if len(r.tree.nodes) != before {
		t.Errorf("%d cgroups of %d are left", len(r.tree.nodes), before)
	}
}

func TestBeforeInit(t *testing.T) {
	m := New(Options{Path: mount, Driver: "cgroupfs"})
	if _, err := m.Create(t.Context(), spec(1, 1)); !errors.Is(err, errNotReady) {
		t.Errorf("create: %v", err)
	}
	if err := m.Remove(t.Context(), spec(1, 1)); !errors.Is(err, errNotReady) {
		t.Errorf("remove: %v", err)
	}
	if _, err := m.List(t.Context()); !errors.Is(err, errNotReady) {
		t.Errorf("list: %v", err)
	}
}
