package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"

	"go.uber.org/zap"

	"ecsagent/agent/store"
	"ecsagent/tests/harness"
	"ecsagent/tests/lab"
)

// M is a JSON object.
type M = map[string]any

var bench *lab.Lab

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if host := os.Getenv("ECS_TEST_DOCKER_HOST"); host != "" {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			var err error
			if bench, err = lab.Open(ctx, host); err != nil {
				fmt.Fprintln(os.Stderr, "set up the fault tests:", err)
				return 1
			}
			defer bench.Close()
		}
		return m.Run()
	}())
}

// limit is how long one scenario may take. It takes seconds; a machine with other work
// takes as many minutes.
const limit = 5 * time.Minute

// site makes a site that ends with the test.
func site(t *testing.T, agent ...string) (context.Context, *lab.Site) {
	t.Helper()
	return siteWithin(t, limit, agent...)
}

func siteWithin(t *testing.T, limit time.Duration, agent ...string) (context.Context, *lab.Site) {
	t.Helper()
	needEngine(t)
	return siteOn(t, bench, limit, agent...)
}

func needEngine(t *testing.T) {
	t.Helper()
	if bench == nil {
		t.Skip("ECS_TEST_DOCKER_HOST is not set; make test sets it")
	}
}

// ownEngine is the lab with an engine of the test's own, which it may kill.
func ownEngine(t *testing.T) (*lab.Lab, *lab.Dockerd) {
	t.Helper()
	needEngine(t)
	dir, err := os.MkdirTemp("", "ecs-dockerd-")
	if err != nil {
		t.Fatal(err)
	}
	d, err := lab.StartDockerd(dir, filepath.Join("..", "..", "scripts"))
	t.Cleanup(func() {
		if err := d.Purge(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := bench.On(d.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l, d
}

func siteOn(t *testing.T, l *lab.Lab, limit time.Duration, agent ...string) (context.Context, *lab.Site) {
	t.Helper()
	return serving(t, l, limit, nil, agent...)
}

// serving makes a site whose ecs-local serves other services of AWS from files, by name,
// unless there are none.
func serving(t *testing.T, l *lab.Lab, limit time.Duration, files map[string]string, agent ...string) (context.Context, *lab.Site) {
	t.Helper()
	ctx, s := preparedSite(t, l, limit, agent...)
	for name, text := range files {
		s.Services = filepath.Join(filepath.Dir(s.Dir), "services")
		file := filepath.Join(s.Services, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.StartLocal(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx, s
}

// preparedSite is siteOn before the control plane is started.
func preparedSite(t *testing.T, l *lab.Lab, limit time.Duration, agent ...string) (context.Context, *lab.Site) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	dir, err := os.MkdirTemp("", "ecs-fault-")
	if err != nil {
		t.Fatal(err)
	}
	managed := filepath.Join(dir, "managed")
	err = harness.InstallExec(managed, "1.0", "#!/bin/sh\necho $$ >>/var/log/amazon/ssm/runs\nsleep 3600\n")
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.NewSite(ctx, dir, append([]string{"ECS_MANAGED_AGENTS_DIR=" + managed}, agent...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("--- agent's log\n%s", harness.Tail(s.AgentLog(), 150))
			t.Logf("--- ecs-local's log\n%s", harness.Tail(filepath.Join(s.Dir, "log", "ecs-local.log"), 20))
		}
		ending, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Close(ending); err != nil {
			t.Error(err)
		}
		if os.Getenv("ECS_TEST_KEEP") == "" {
			_ = os.RemoveAll(dir)
		}
	})
	return ctx, s
}

// sh is a container that runs a shell script.
func sh(s *lab.Site, name, script string, more M) M {
	c := M{"name": name, "image": s.Image, "memory": 16, "essential": true, "command": []string{"sh", "-c", script}}
	for k, v := range more {
		c[k] = v
	}
	return c
}

// service is a task that runs until it is stopped, with everything that leaves traces:
// an order of containers, a volume of its own, a shared one, a port.
func service(s *lab.Site, family string) M {
	return M{
		"family": family, "networkMode": "bridge",
		"volumes": []M{
			{"name": "own", "dockerVolumeConfiguration": M{"scope": "task"}},
			{"name": family + "-shared", "dockerVolumeConfiguration": M{"scope": "shared", "autoprovision": true}},
		},
		"containerDefinitions": []M{
			sh(s, "init", "echo ready > /own/file", M{"essential": false, "mountPoints": []M{{"sourceVolume": "own", "containerPath": "/own"}}}),
			sh(s, "app", "trap 'exit 5' TERM; cat /own/file; sleep 3600 & while :; do wait; done", M{
				"dependsOn":    []M{{"containerName": "init", "condition": "SUCCESS"}},
				"portMappings": []M{{"containerPort": 80}},
				"mountPoints": []M{
					{"sourceVolume": "own", "containerPath": "/own", "readOnly": true},
					{"sourceVolume": family + "-shared", "containerPath": "/shared"},
				},
			}),
		},
	}
}

// job is a task that ends by itself.
func job(s *lab.Site, family string) M {
	return M{"family": family, "networkMode": "host", "containerDefinitions": []M{sh(s, "once", "sleep 0.2; exit 7", nil)}}
}

// launch runs one task of a definition.
func launch(ctx context.Context, t *testing.T, s *lab.Site, definition M) string {
	t.Helper()
	arn, err := s.ECS.Register(ctx, definition)
	if err != nil {
		t.Fatal(err)
	}
	var tasks []harness.Task
	err = harness.Poll(ctx, "a place for the task", func(ctx context.Context) (bool, error) {
		var failures []harness.Failure
		var err error
		tasks, failures, err = s.ECS.Run(ctx, arn, 1)
		return len(tasks) == 1, errors.Join(err, fmt.Errorf("failures %v", failures)) // the agent may be down
	})
	if err != nil {
		t.Fatal(err)
	}
	return tasks[0].TaskARN
}

func await(ctx context.Context, t *testing.T, s *lab.Site, arn, status string) harness.Task {
	t.Helper()
	task, err := s.ECS.AwaitStatus(ctx, arn, status, "STOPPED")
	if err != nil || task.LastStatus != status {
		t.Fatalf("task %s is %s (%s %v), want %s: %v", arn, task.LastStatus, task.StoppedReason, task.Containers, status, err)
	}
	return task
}

func exitOf(c harness.Container) string {
	if c.ExitCode == nil {
		return "none"
	}
	return fmt.Sprint(*c.ExitCode)
}

// cleanedUp waits until no container of the site is left.
func cleanedUp(ctx context.Context, t *testing.T, s *lab.Site) {
	t.Helper()
	err := harness.Poll(ctx, "the tasks to be cleaned up", func(ctx context.Context) (bool, error) {
		list, err := s.Containers(ctx, s.Lab.Docker)
		if err != nil || len(list) > 0 {
			return false, fmt.Errorf("%d containers left: %w", len(list), err)
		}
		status, body, err := s.Introspect(ctx, "/v1/tasks")
		return err == nil && status == 200 && !strings.Contains(string(body), "arn:"), err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// over ends the agent and checks the record of all that happened, and that nothing is left of
// a family's tasks.
func over(ctx context.Context, t *testing.T, s *lab.Site, family string) {
	t.Helper()
	if code, err := s.End(); err != nil || code != 0 {
		t.Errorf("exit code %d of the agent: %v", code, err)
	}
	for _, v := range lab.Violations(s.Record.Events(), lab.Reports(s.Plane)) {
		t.Error(v)
	}
	nothingLeft(ctx, t, s, family)
}

// nothingLeft checks everything that a task could leave behind, and the state file. The
// agent must have ended.
func nothingLeft(ctx context.Context, t *testing.T, s *lab.Site, family string) {
	t.Helper()
	volumes, err := s.Lab.Docker.VolumeList(ctx, volume.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes.Volumes {
		switch {
		case v.Name == family+"-shared":
			if err := s.Lab.Docker.VolumeRemove(ctx, v.Name, true); err != nil {
				t.Error(err)
			}
		case strings.HasPrefix(v.Name, "ecs-"+family):
			t.Errorf("volume %s is left", v.Name)
		}
	}
	list, err := s.Lab.Docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("name", "ecs-"+family))})
	if err != nil || len(list) > 0 {
		t.Errorf("containers left: %v %v", list, err)
	}
	cgroups, _ := filepath.Glob("/sys/fs/cgroup/*/ecs/*")
	unified, _ := filepath.Glob("/sys/fs/cgroup/ecs*/*")
	for _, task := range tasksOf(s) {
		for _, dir := range append(cgroups, unified...) {
			if strings.Contains(dir, task[strings.LastIndex(task, "/")+1:]) {
				t.Errorf("cgroup %s is left", dir)
			}
		}
	}
	files, err := os.ReadDir(filepath.Join(s.Dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := f.Name(); !strings.HasPrefix(name, store.FileName) && name != "ecs-agent-identity.json" && name != "eni-ipam.db" {
			t.Errorf("file %s is left in the data folder", name)
		}
	}
	state, loaded, err := store.Open(filepath.Join(s.Dir, "data"), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	if len(loaded.Tasks) > 0 || len(loaded.Problems) > 0 || len(loaded.Attachments) > 0 {
		t.Errorf("the state file holds %+v", loaded)
	}
	if instances, err := s.ECS.Instances(ctx); err != nil || len(instances) != 1 {
		t.Errorf("%d container instances, want 1: %v", len(instances), err)
	}
}

// tasksOf lists the tasks that Docker or ECS heard of.
func tasksOf(s *lab.Site) []string {
	seen := map[string]bool{}
	for _, e := range s.Record.Events() {
		seen[e.Task] = true
	}
	for _, r := range lab.Reports(s.Plane) {
		seen[r.Task] = true
	}
	var all []string
	for arn := range seen {
		all = append(all, arn)
	}
	return all
}
