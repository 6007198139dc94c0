package cgroup

import (
	"errors"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ecsagent/agent/task"
)

func snapshot(s *task.Spec) *task.Snapshot { return &task.Snapshot{Spec: s} }

func TestHookNeeds(t *testing.T) {
	odd := spec(1, 64)
	odd.ARN += "/a b"
	for name, c := range map[string]struct {
		spec  *task.Spec
		count int
		err   string
	}{
		"bounded":  {spec(0.5, 512), 1, ""},
		"weighed":  {spec(0, 0, shares(1024)...), 1, ""},
		"odd id":   {odd, 0, ""},
		"too much": {spec(0, 512, task.Container{Name: "a", Memory: 513}), 0, "cgroup resource: unable to build resource spec for task: task memory spec builder: container memory limit(513) greater than task memory limit(512)"},
	} {
		needs, err := Hook{}.Needs(c.spec)
		if got := errText(err); len(needs) != c.count || got != c.err {
			t.Errorf("%s: %d resources, error %q", name, len(needs), got)
		}
		if c.count > 0 && (needs[0].Name != "cgroup" || needs[0].Blames || len(needs[0].Containers) > 0 || needs[0].Before > task.ContainerCreated) {
			t.Errorf("%s: %+v", name, needs[0])
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestHook: what is provisioned is what was previewed, and goes.
func TestHook(t *testing.T) {
	for name, make := range layouts() {
		t.Run(name, func(t *testing.T) {
			r := make(t, Settings{})
			h, s := Hook{r.Manager}, spec(0.5, 512)
			want := h.Preview(s, nil).Shared.CgroupParent
			for range 2 {
				given, err := h.Provision(t.Context(), snapshot(s), nil)
				if err != nil || want == "" || given.Shared.CgroupParent != want {
					t.Errorf("parent %q, want %q; %v", given.Shared.CgroupParent, want, err)
				}
			}
			for range 2 {
				if err := h.CleanUp(t.Context(), snapshot(s), nil, nil); err != nil {
					t.Error(err)
				}
			}
			if ids, err := r.List(t.Context()); err != nil || len(ids) > 0 {
				t.Errorf("left %q, %v", ids, err)
			}
		})
	}
	if parent := (Hook{}).Preview(spec(1, 1), nil).Shared.CgroupParent; parent != "<cgroup of the task>" {
		t.Errorf("without a manager: %q", parent)
	}
}

// TestHookSweeps: old cgroups of unknown tasks in which nothing runs.
func TestHookSweeps(t *testing.T) {
	for name, make := range layouts() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := make(t, Settings{})
				h := Hook{r.Manager}
				create := func(id string) {
					s := spec(0.5, 512)
					s.ARN = "arn:aws:ecs:x:1:task/demo/" + id
					if _, err := h.Provision(t.Context(), snapshot(s), nil); err != nil {
						t.Fatal(err)
					}
				}
				for _, id := range []string{"known", "lost", "busy"} {
					create(id)
				}
				dir := path.Join(mount, r.Layout().dir("busy"))
				if r.Layout().Version == 1 {
					dir = path.Join(mount, "memory", r.Layout().dir("busy"))
				}
				r.tree.nodes[dir].files["cgroup.procs"] = "7"
				<-time.After(sweepAge)
				create("young")
				if err := h.Sweep(t.Context(), func(id string) bool { return id == "known" }); err != nil {
					t.Error(err)
				}
				if ids, err := r.List(t.Context()); err != nil || !slices.Equal(ids, []string{"busy", "known", "young"}) {
					t.Errorf("left %q, %v", ids, err)
				}
			})
		})
	}
}

// What an engine has lost of a task is ended with it; what cannot be ended is told.
func TestCleanUpEndsWhatIsLeft(t *testing.T) {
	for name, make := range layouts() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := make(t, Settings{}), spec(1, 4)
				if _, err := r.Create(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				dir := r.Layout().dir(s.ID())
				r.tree.make(dir + "/container/nested")
				for node, content := range r.tree.nodes {
					if strings.HasSuffix(node, dir+"/container/nested") {
						content.files["cgroup.procs"] = "4711"
					}
				}
				h, snap := Hook{r.Manager}, &task.Snapshot{Spec: s}
				r.tree.immortal = true
				if err := h.CleanUp(t.Context(), snap, nil, nil); !errors.Is(err, ErrBusy) || !errors.Is(err, syscall.EPERM) {
					t.Errorf("what cannot be killed: %v", err)
				}
				r.tree.immortal = false
				if err := h.CleanUp(t.Context(), snap, nil, nil); err != nil {
					t.Error(err)
				}
				for left := range r.tree.nodes {
					if strings.Contains(left, s.ID()) {
						t.Errorf("left %s", left)
					}
				}
				if err := h.CleanUp(t.Context(), snap, nil, nil); err != nil {
					t.Errorf("again: %v", err)
				}
			})
		})
	}
}
