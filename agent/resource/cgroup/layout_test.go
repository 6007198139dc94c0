package cgroup

import (
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ecsagent/agent/task"
)

func TestParent(t *testing.T) {
	const hex, uuid = "0123456789abcdef0123456789abcdef", "1dc5c17a-422b-4dc4-b493-371970c6c4d6"
	for _, c := range []struct {
		id     string
		layout Layout
		parent string
		dir    string
	}{
		{hex, Layout{1, Cgroupfs}, "/ecs/" + hex, "ecs/" + hex},
		{hex, Layout{2, Cgroupfs}, "/ecs/" + hex, "ecs/" + hex},
		{hex, Layout{1, Systemd}, "ecstasks-" + hex + ".slice", "ecstasks.slice/ecstasks-" + hex + ".slice"},
		{hex, Layout{2, Systemd}, "ecstasks-" + hex + ".slice", "ecstasks.slice/ecstasks-" + hex + ".slice"},
		{uuid, Layout{1, Cgroupfs}, "/ecs/" + uuid, "ecs/" + uuid},
		{"a-b", Layout{2, Systemd}, `ecstasks-a\x2db.slice`, `ecstasks.slice/ecstasks-a\x2db.slice`},
	} {
		s := &task.Spec{ARN: "arn:aws:ecs:eu-west-1:111122223333:task/" + c.id}
		if got := Parent(s, c.layout); got != c.parent {
			t.Errorf("parent of %s with %+v is %q, want %q", c.id, c.layout, got, c.parent)
		}
		if got := c.layout.dir(c.id); got != c.dir {
			t.Errorf("directory of %s with %+v is %q, want %q", c.id, c.layout, got, c.dir)
		}
	}
}

func TestBadIDs(t *testing.T) {
	for _, id := range []string{"", ".", "..", "a.b", "a b", "a\x00", `a\b`, "ä", strings.Repeat("a", 129)} {
		if checkID(id) == nil {
			t.Errorf("task id %q was accepted", id)
		}
		for _, d := range []Driver{Cgroupfs, Systemd} {
			if got := Parent(&task.Spec{ARN: "x/" + id}, Layout{1, d}); got != "" {
				t.Errorf("task id %q has parent %q", id, got)
			}
		}
	}
}

func TestIDsReturn(t *testing.T) {
	id := rapid.StringMatching(`[0-9A-Za-z_-]{1,40}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := id.Draw(t, "id"), id.Draw(t, "other")
		for _, d := range []Driver{Cgroupfs, Systemd} {
			l := Layout{2, d}
			if got, ours := l.taskID(path.Base(l.dir(a))); !ours || got != a {
				t.Fatalf("%q came back as %q", a, got)
			}
			if a != b && l.dir(a) == l.dir(b) {
				t.Fatalf("%q and %q share %q", a, b, l.dir(a))
			}
		}
	})
}

// Whatever ECS names a task and whatever lies in the tree, nothing outside of it is
// touched.
func FuzzTaskID(f *testing.F) {
	for _, s := range []string{"0123456789abcdef", "../..", "ecstasks-a.slice", `ecstasks-a\x2db.slice`, "ecstasks-a-b.slice", ".slice"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, d := range []Driver{Cgroupfs, Systemd} {
			l := Layout{1, d}
			for _, id := range append(l.taskIDs([]string{name}), name) {
				if checkID(id) != nil {
					continue
				}
				if dir := l.dir(id); path.Dir(path.Join("/m", dir)) != "/m/"+l.root() {
					t.Fatalf("task id %q leads to %q", id, dir)
				}
			}
		}
	})
}

func TestDetect(t *testing.T) {
	for name, c := range map[string]struct {
		tree   *fakeTree
		driver string
		want   Layout
		err    string
	}{
		"version 1":   {newV1(), "cgroupfs", Layout{1, Cgroupfs}, ""},
		"version 2":   {newV2(), "systemd", Layout{2, Systemd}, ""},
		"no driver":   {newV2(), "none", Layout{}, `driver "none"`},
		"not told":    {newV2(), "", Layout{}, `driver ""`},
		"not mounted": {&fakeTree{nodes: map[string]*node{mount: {}}}, "cgroupfs", Layout{}, "no cgroup file system"},
		"no path":     {&fakeTree{}, "cgroupfs", Layout{}, "find the cgroup version"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := detect(c.tree, mount, c.driver)
			if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v, %v; want %+v, %q", got, err, c.want, c.err)
			}
		})
	}
}
