package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"go.uber.org/zap"

	"ecsagent/agent/store"
	"ecsagent/agent/task"
	"ecsagent/tests/harness"
)

// restartTasks run while the agent is killed.
const restartTasks = 50

// restart measures kill -9 to connected and serving, with tasks that run, and what
// keeping all of that costs.
func (b *bench) restart() error {
	r, err := b.newRig(false)
	if err != nil {
		return err
	}
	if err := r.start(b.ctx); err != nil {
		return err
	}
	var ids []string
	for i := range restartTasks {
		ids = append(ids, fmt.Sprintf("r%d-%d", time.Now().UnixNano(), i))
	}
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Minute)
	defer cancel()
	if _, err := b.deliver(ctx, r, ids, "RUNNING"); err != nil {
		return err
	}
	paths, err := b.metadataPaths(ctx, r)
	if err != nil {
		return err
	}
	if len(paths) != restartTasks {
		return fmt.Errorf("%d containers run, want %d", len(paths), restartTasks)
	}
	var connected, served []time.Duration
	for range max(3, b.rounds/3) {
		c, s, err := r.killed(ctx, paths)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, harness.Tail(r.AgentLog(), 20))
		}
		connected, served = append(connected, c), append(served, s)
	}
	m := ms(median(served))
	b.table.add(row{what: fmt.Sprintf("kill -9 to ACS connected, %d tasks", restartTasks), unit: "ms", agent: ms(median(connected))})
	b.table.add(row{what: "and the metadata of each task served", unit: "ms", agent: m, old: "3100 ms", goal: "≤ 500 ms", met: m <= 500})
	info, err := os.Stat(filepath.Join(r.Dir, "data", store.FileName))
	if err != nil {
		return err
	}
	b.table.add(row{what: fmt.Sprintf("state file, %d tasks", restartTasks), unit: "KiB", agent: float64(info.Size()) / 1024})
	if _, err := b.deliver(ctx, r, ids, "STOPPED"); err != nil {
		return err
	}
	return errors.Join(r.close(), b.persistence())
}

// metadataPaths are what the containers of this cluster ask for at the task endpoint.
func (b *bench) metadataPaths(ctx context.Context, r *rig) ([]string, error) {
	list, err := b.docker.ContainerList(ctx, container.ListOptions{
		Filters: filters.NewArgs(filters.Arg("label", "com.amazonaws.ecs.cluster="+r.Plane.Cluster())),
	})
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, c := range list {
		info, err := b.docker.ContainerInspect(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		for _, kv := range info.Config.Env {
			if v, ok := strings.CutPrefix(kv, "ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2"); ok {
				paths = append(paths, v+"/task")
			}
		}
	}
	return paths, nil
}

// killed kills the agent, starts it, and tells how long it took until it was connected,
// and until every path was answered too.
func (r *rig) killed(ctx context.Context, paths []string) (connected, served time.Duration, err error) {
	opened := r.Connections()
	begin := time.Now()
	r.Agent.Kill()
	if err := r.StartAgent(); err != nil {
		return 0, 0, err
	}
	if err := r.AwaitACS(ctx, opened+1); err != nil {
		return 0, 0, err
	}
	connected = time.Since(begin)
	for _, path := range paths {
		err := harness.Poll(ctx, path+" to be served", func(ctx context.Context) (bool, error) {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.TaskEndpoint+path, nil)
			if err != nil {
				return false, err
			}
			reply, err := http.DefaultClient.Do(request)
			if err != nil {
				return false, err
			}
			defer reply.Body.Close()
			body, err := io.ReadAll(reply.Body)
			return reply.StatusCode == http.StatusOK && strings.Contains(string(body), `"KnownStatus":"RUNNING"`), err
		})
		if err != nil {
			return 0, 0, err
		}
	}
	return connected, time.Since(begin), nil
}

// persistence measures the writes that a start waits for, the task before it is acted
// on and RUNNING before it is reported, and the file that many tasks make.
func (b *bench) persistence() error {
	const tasks = 200
	dir, err := os.MkdirTemp(b.dir, "store-")
	if err != nil {
		return err
	}
	s, _, err := store.Open(dir, zap.NewNop())
	if err != nil {
		return err
	}
	var took []time.Duration
	for i := range tasks {
		spec := usualTask(i)
		record := task.Record{Spec: spec, State: task.NewState(spec, task.Running, time.Now())}
		begin := time.Now()
		err := s.SaveTasks(int64(i+1), []task.Record{record})
		if err == nil {
			record.State.Known = task.Running
			err = s.SaveState(spec.ARN, record.State)
		}
		if err != nil {
			return errors.Join(err, s.Close())
		}
		took = append(took, time.Since(begin))
	}
	if err := s.Close(); err != nil {
		return err
	}
	floor, err := plainSyncs(filepath.Join(dir, "plain"), tasks)
	if err != nil {
		return err
	}
	m := ms(median(took))
	b.table.add(row{what: "persistence of one start (two synced writes)", unit: "ms", floor: ms(floor), agent: m, goal: "≤ 2 ms", met: m <= 2})
	b.table.note("Persistence: floor is two synced writes of a page.")
	info, err := os.Stat(filepath.Join(dir, store.FileName))
	if err != nil {
		return err
	}
	size := float64(info.Size()) / (1 << 20)
	b.table.add(row{what: fmt.Sprintf("state file, %d tasks of three containers", tasks), unit: "MiB", agent: size, goal: "≤ 10 MiB", met: size <= 10})
	return nil
}

// plainSyncs is the median of two synced writes of a page.
func plainSyncs(name string, rounds int) (time.Duration, error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	page := make([]byte, os.Getpagesize())
	var took []time.Duration
	for range rounds {
		begin := time.Now()
		for range 2 {
			_, err = f.Write(page)
			if err == nil {
				err = f.Sync()
			}
			if err != nil {
				return 0, errors.Join(err, f.Close())
			}
		}
		took = append(took, time.Since(begin))
	}
	return median(took), f.Close()
}

// usualTask is a task with three containers of some variables each.
func usualTask(n int) *task.Spec {
	spec := &task.Spec{ARN: fmt.Sprintf("arn:aws:ecs:eu-west-1:111122223333:task/bench/%032x", n), Family: "bench", Version: "1", NetworkMode: "bridge"}
	for _, name := range []string{"web", "app", "log"} {
		c := task.Container{
			Name: name, Image: "111122223333.dkr.ecr.eu-west-1.amazonaws.com/bench/" + name + ":1", Essential: true, CPU: 256, Memory: 512,
			Environment: make(map[string]string), Ports: []task.PortMapping{{ContainerPort: 80, Protocol: task.TCP}},
		}
		for v := range 20 {
			c.Environment[fmt.Sprintf("VARIABLE_%d", v)] = strings.Repeat("x", 40)
		}
		spec.Containers = append(spec.Containers, c)
	}
	return spec
}
