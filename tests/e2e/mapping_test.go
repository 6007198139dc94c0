package e2e

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"ecsagent/tests/harness"
)

// output is what a container wrote to its standard output.
func (e *env) output(task harness.Task, name string) string {
	e.t.Helper()
	r, err := shared.docker.ContainerLogs(e.ctx, task.Container(name).RuntimeID, container.LogsOptions{ShowStdout: true})
	if err != nil {
		e.t.Fatal(err)
	}
	defer r.Close()
	var out strings.Builder
	if _, err := stdcopy.StdCopy(&out, io.Discard, r); err != nil {
		e.t.Fatal(err)
	}
	return out.String()
}

// TestContainerSettings looks at what the process and the engine see of a container
// definition's members.
func TestContainerSettings(t *testing.T) {
	e := start(t)
	task := e.running(bridged(M{
		"name": "app", "image": shared.tools, "essential": true, "memory": 64, "memoryReservation": 32, "cpu": 100,
		"entryPoint":             []string{"sh", "-c"},
		"command":                []string{`id -u; pwd; echo "$GREETING"; ulimit -n; hostname; cat /sys/fs/cgroup/memory/memory.limit_in_bytes; trap 'exit 0' TERM; sleep 3600 & while :; do wait; done`},
		"environment":            []M{{"name": "GREETING", "value": "hello = world"}},
		"user":                   "1000:1000",
		"workingDirectory":       "/tmp",
		"hostname":               "somewhere",
		"ulimits":                []M{{"name": "nofile", "softLimit": 123, "hardLimit": 456}},
		"dockerLabels":           M{"team": "a", "com.example.x": "y"},
		"logConfiguration":       M{"logDriver": "json-file", "options": M{"max-size": "1m", "max-file": "2"}},
		"linuxParameters":        M{"initProcessEnabled": true, "capabilities": M{"add": []string{"NET_ADMIN"}, "drop": []string{"MKNOD"}}},
		"extraHosts":             []M{{"hostname": "db.internal", "ipAddress": "10.1.2.3"}},
		"dnsServers":             []string{"10.9.8.7"},
		"readonlyRootFilesystem": true,
	}))
	var out string
	e.eventually(10*time.Second, "the container's output", func() (bool, error) {
		out = e.output(task, "app")
		return strings.Count(out, "\n") >= 6, nil
	})
	want := "1000\n/tmp\nhello = world\n123\nsomewhere\n67108864\n"
	equal(t, "output", out, want)
	info := e.inspect(task, "app")
	equal(t, "label team", info.Config.Labels["team"], "a")
	equal(t, "log driver", info.HostConfig.LogConfig.Type, "json-file")
	equal(t, "log option max-size", info.HostConfig.LogConfig.Config["max-size"], "1m")
	equal(t, "memory", info.HostConfig.Memory, 64<<20)
	equal(t, "memory reservation", info.HostConfig.MemoryReservation, 32<<20)
	equal(t, "CPU shares", info.HostConfig.CPUShares, 100)
	equal(t, "init", info.HostConfig.Init != nil && *info.HostConfig.Init, true)
	equal(t, "read-only root", info.HostConfig.ReadonlyRootfs, true)
	// The engine may write them with its prefix.
	if added, dropped := strings.Join(info.HostConfig.CapAdd, " "), strings.Join(info.HostConfig.CapDrop, " "); strings.TrimPrefix(added, "CAP_") != "NET_ADMIN" || strings.TrimPrefix(dropped, "CAP_") != "MKNOD" {
		t.Errorf("capabilities: added %v, dropped %v", info.HostConfig.CapAdd, info.HostConfig.CapDrop)
	}
	if !slices.Contains(info.HostConfig.ExtraHosts, "db.internal:10.1.2.3") {
		t.Errorf("extra hosts %v", info.HostConfig.ExtraHosts)
	}
	equal(t, "family label", info.Config.Labels["com.amazonaws.ecs.task-definition-family"] != "", true)
	e.stop(task.TaskARN)
}

func TestLinks(t *testing.T) {
	e := start(t)
	task := e.stopped(e.launch(bridged(
		page("server", nil, 80),
		sh("client", "i=0; until wget -q -O - http://alias/; do i=$((i+1)); [ $i -lt 300 ] || exit 1; sleep 0.2; done", M{"links": []string{"server:alias"}}),
	)))
	equal(t, "exit code of client", exitCode(task.Container("client")), "0")
}

func TestVolumes(t *testing.T) {
	e := start(t)
	host := filepath.Join(e.Dir, "volume")
	if err := os.MkdirAll(host, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(host, "in"), []byte("from the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	def := bridged(
		sh("writer", "cat /host/in >/shared/a; cp /shared/a /host/out; echo named >/named/file", M{
			"essential": false,
			"mountPoints": []M{
				{"sourceVolume": "host", "containerPath": "/host"},
				{"sourceVolume": "shared", "containerPath": "/shared"},
				{"sourceVolume": "named", "containerPath": "/named"},
			},
		}),
		sh("reader", `[ "$(cat /shared/a)" = "from the host" ] && [ "$(cat /named/file)" = named ] || exit 2; touch /shared/x && exit 3; exit 0`, M{
			"dependsOn": []M{{"containerName": "writer", "condition": "SUCCESS"}},
			"mountPoints": []M{
				{"sourceVolume": "shared", "containerPath": "/shared", "readOnly": true},
				{"sourceVolume": "named", "containerPath": "/named"},
			},
		}),
	)
	def["volumes"] = []M{
		{"name": "host", "host": M{"sourcePath": host}},
		{"name": "shared"},
		{"name": "named", "dockerVolumeConfiguration": M{"scope": "task", "driver": "local", "labels": M{"of": e.Cluster}}},
	}
	task := e.stopped(e.launch(def))
	equal(t, "exit code of writer", exitCode(task.Container("writer")), "0")
	equal(t, "exit code of reader", exitCode(task.Container("reader")), "0")
	out, err := os.ReadFile(filepath.Join(host, "out"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "file on the host", string(out), "from the host")
}

func TestVolumesFrom(t *testing.T) {
	e := start(t)
	def := bridged(
		sleeper("owner", M{"mountPoints": []M{{"sourceVolume": "v", "containerPath": "/v"}}}),
		sh("guest", "touch /v/x", M{"volumesFrom": []M{{"sourceContainer": "owner"}}}),
	)
	def["volumes"] = []M{{"name": "v"}}
	equal(t, "exit code of guest", exitCode(e.stopped(e.launch(def)).Container("guest")), "0")
}

func TestHealthCheck(t *testing.T) {
	e := start(t)
	task := e.running(bridged(sleeper("app", M{"healthCheck": M{
		"command": []string{"CMD-SHELL", "true"}, "interval": 5, "timeout": 2, "retries": 1, "startPeriod": 0,
	}})))
	info := e.inspect(task, "app")
	if info.Config.Healthcheck == nil {
		t.Fatal("the container has no health check")
	}
	if want := []string{"CMD-SHELL", "true"}; !slices.Equal(info.Config.Healthcheck.Test, want) {
		t.Errorf("health check %v, want %v", info.Config.Healthcheck.Test, want)
	}
	equal(t, "interval", info.Config.Healthcheck.Interval, 5*time.Second)
	e.stop(task.TaskARN)
}

// The health of a task is the worst of its essential containers' that have a check, and
// nothing that the agent acts on.
func TestHealthOfTasks(t *testing.T) {
	e := start(t)
	checked := func(name string, more M) M {
		c := sh(name, "touch /ok; trap 'exit 0' TERM; sleep 3600 & while :; do wait; done", more)
		c["healthCheck"] = M{"command": []string{"CMD", "test", "-e", "/ok"}, "interval": 5, "retries": 1}
		return c
	}
	task := e.running(bridged(checked("web", nil), checked("db", nil), checked("extra", M{"essential": false}), sleeper("plain")))
	health := func(name, want, ofTask string) {
		t.Helper()
		got, err := e.ECS.Await(e.ctx, task.TaskARN, "health of "+name, func(t harness.Task) bool {
			return t.Container(name).HealthStatus == want && t.HealthStatus == ofTask
		})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "status", got.LastStatus, "RUNNING")
		equal(t, "health of plain", got.Container("plain").HealthStatus, "UNKNOWN")
	}
	health("web", "HEALTHY", "HEALTHY")
	spoil := func(name string) {
		t.Helper()
		if _, err := e.exec(task.Container(name).RuntimeID, "rm", "/ok"); err != nil {
			t.Fatal(err)
		}
	}
	spoil("extra")
	health("extra", "UNHEALTHY", "HEALTHY")
	spoil("db")
	health("db", "UNHEALTHY", "UNHEALTHY")
	e.stop(task.TaskARN)
}
