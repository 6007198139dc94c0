package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.uber.org/zap"

	"ecsagent/agent/store"
	"ecsagent/tests/harness"
)

// TestNothingIsLeft: when the wait and its jitter are over, nothing of a task is left:
// no container, no volume, no cgroup, no file, no record; also when the agent was
// killed in between, and when the task failed.
func TestNothingIsLeft(t *testing.T) {
	e := start(t, "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER=1s")
	anonymous, _, err := push(e.ctx, "anonymous:1", v1.Config{Volumes: map[string]struct{}{"/anonymous": {}}})
	if err != nil {
		t.Fatal(err)
	}
	full := sharing(
		sleeper("app", M{"image": anonymous, "mountPoints": []M{
			{"sourceVolume": "own", "containerPath": "/own"}, {"sourceVolume": "scratch", "containerPath": "/scratch"},
		}}),
		sh("side", "echo x >/scratch/x", M{"essential": false, "mountPoints": []M{{"sourceVolume": "scratch", "containerPath": "/scratch"}}}),
	)
	full["volumes"] = []M{{"name": "own", "dockerVolumeConfiguration": M{"scope": "task", "driver": "local"}}, {"name": "scratch", "host": M{}}}
	full["cpu"], full["memory"] = "128", "128"

	stopped := e.running(full)
	during := e.running(full)
	volumes := append(e.volumesOf(stopped, "app"), e.volumesOf(during, "app")...)
	if len(volumes) != 6 {
		t.Errorf("two tasks have volumes %q", volumes)
	}
	e.stop(stopped.TaskARN)
	failed := e.stopped(e.launch(definition(sh("bad", "", M{"command": []string{"/no/such/program"}}))))
	e.Agent.Kill()
	if err := e.StartAgent(); err != nil {
		t.Fatal(err)
	}
	e.instance()
	e.stop(during.TaskARN)

	e.eventually(60*time.Second, "everything to be removed", func() (bool, error) {
		containers, err := e.Containers(e.ctx, shared.docker)
		if err != nil || len(containers) > 0 {
			return false, err
		}
		for _, arn := range []string{stopped.TaskARN, during.TaskARN, failed.TaskARN} {
			if len(harness.CgroupDirs(arn)) > 0 {
				return false, nil
			}
		}
		_, page, err := e.Introspect(e.ctx, "/v1/tasks")
		var known struct{ Tasks []any }
		return err == nil && json.Unmarshal(page, &known) == nil && len(known.Tasks) == 0, err
	})
	for _, name := range volumes {
		if _, err := shared.docker.VolumeInspect(e.ctx, name); !errdefs.IsNotFound(err) {
			t.Errorf("volume %s is left: %v", name, err)
		}
	}
	if _, err := e.Agent.Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(e.Dir, "data")
	files, err := os.ReadDir(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), "ecs-agent.db") && f.Name() != "ecs-agent-identity.json" {
			t.Errorf("file %s is left", f.Name())
		}
	}
	s, saved, err := store.Open(data, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if len(saved.Tasks) > 0 || len(saved.Problems) > 0 {
		t.Errorf("%d tasks are left, problems %q", len(saved.Tasks), saved.Problems)
	}
}

// volumesOf are the names of the volumes that a container has mounted.
func (e *env) volumesOf(task harness.Task, container string) (names []string) {
	for _, m := range e.inspect(task, container).Mounts {
		if m.Name != "" {
			names = append(names, m.Name)
		}
	}
	return names
}
