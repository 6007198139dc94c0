package e2e

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ecsagent/tests/harness"
)

// legacyCgroups skips the test where task cgroups are not directories of cgroup v1.
func legacyCgroups(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/sys/fs/cgroup/memory/cgroup.procs"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and cgroup v1")
	}
}

// cgroupValue reads a file of a task's cgroup.
func cgroupValue(t *testing.T, controller, id, file string) string {
	t.Helper()
	data, err := os.ReadFile(path.Join("/sys/fs/cgroup", controller, "ecs", id, file))
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(data))
}

func (e *env) hasAttribute(name string) bool {
	return slices.ContainsFunc(e.instance().Attributes, func(a struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}) bool {
		return a.Name == name
	})
}

// TestTaskLimits: the limits of a task hold for all its containers together, and its
// cgroup goes with it; a sweep finds those of tasks that were lost.
func TestTaskLimits(t *testing.T) {
	legacyCgroups(t)
	lost := "10" + randomHex()
	e := start(t, "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s", "ECS_TASK_PIDS_LIMIT=200")
	if !e.hasAttribute("ecs.capability.task-cpu-mem-limit") {
		t.Error("the capability is not advertised")
	}
	def := definition(sleeper("app", M{"memory": 48}), sleeper("side", M{"memory": 48}))
	def["cpu"], def["memory"] = "256", "96"
	task := e.running(def)
	id := path.Base(task.TaskARN)
	for _, c := range []struct{ controller, file, want string }{
		{"cpu", "cpu.cfs_period_us", "100000"}, {"cpu", "cpu.cfs_quota_us", "25000"},
		{"memory", "memory.limit_in_bytes", "100663296"}, {"pids", "pids.max", "200"},
	} {
		equal(t, c.file, cgroupValue(t, c.controller, id, c.file), c.want)
	}
	for _, name := range []string{"app", "side"} {
		info := e.inspect(task, name)
		equal(t, "cgroup parent of "+name, info.HostConfig.CgroupParent, "/ecs/"+id)
		at, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", info.State.Pid))
		if err != nil || !strings.Contains(string(at), "/ecs/"+id+"/"+info.ID) {
			t.Errorf("%s runs in %s (%v)", name, at, err)
		}
	}
	// An agent that starts again sweeps old cgroups of tasks it does not know, and no others.
	old := time.Now().Add(-time.Hour)
	for _, controller := range []string{"memory", "cpu", "pids"} {
		dir := path.Join("/sys/fs/cgroup", controller, "ecs", lost)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(dir) })
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	e.Agent.Kill()
	if err := e.StartAgent(); err != nil {
		t.Fatal(err)
	}
	e.eventually(20*time.Second, "the lost task's cgroup to be swept", func() (bool, error) {
		return len(harness.CgroupDirs(lost)) == 0, nil
	})
	equal(t, "quota after the restart", cgroupValue(t, "cpu", id, "cpu.cfs_quota_us"), "25000")
	e.stop(task.TaskARN)
	e.eventually(30*time.Second, "the task's cgroup to be removed", func() (bool, error) {
		return len(harness.CgroupDirs(task.TaskARN)) == 0, nil
	})
}

// TestTaskLimitsOff: without the feature nothing of it shows; where it is asked for
// and cannot be had, the agent does not start.
func TestTaskLimitsOff(t *testing.T) {
	legacyCgroups(t)
	t.Run("switched off", func(t *testing.T) {
		e := start(t, "ECS_ENABLE_TASK_CPU_MEM_LIMIT=false")
		if e.hasAttribute("ecs.capability.task-cpu-mem-limit") {
			t.Error("the capability is advertised")
		}
		task := e.running(definition(sleeper("app")))
		equal(t, "cgroup parent", e.inspect(task, "app").HostConfig.CgroupParent, "")
		equal(t, "cgroups", len(harness.CgroupDirs(task.TaskARN)), 0)
	})
	t.Run("impossible", func(t *testing.T) {
		e := start(t, "ECS_CGROUP_PATH="+t.TempDir())
		if e.hasAttribute("ecs.capability.task-cpu-mem-limit") {
			t.Error("the capability is advertised")
		}
		equal(t, "cgroup parent", e.inspect(e.running(definition(sleeper("app"))), "app").HostConfig.CgroupParent, "")
	})
	t.Run("impossible and asked for", func(t *testing.T) {
		e := prepared(t, "ECS_ENABLE_TASK_CPU_MEM_LIMIT=true", "ECS_CGROUP_PATH="+t.TempDir())
		if err := e.StartLocal(e.ctx); err != nil {
			t.Fatal(err)
		}
		if err := e.StartAgent(); err != nil {
			t.Fatal(err)
		}
		<-e.Agent.Done()
		equal(t, "exit code", e.Agent.ExitCode(), 5)
		contains(t, "log", harness.Tail(filepath.Join(e.Dir, "log", "ecs-agent.log"), 5), "ECS_ENABLE_TASK_CPU_MEM_LIMIT is true", "no cgroup file system")
	})
}
