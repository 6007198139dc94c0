package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"ecsagent/tests/harness"
)

// officialState writes tasks as the official agent keeps them (docs/spec/02 section 9.2).
func (e *env) officialState(dir, instance string, tasks ...harness.Task) {
	e.t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "agent.db"), 0o600, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	defer db.Close()
	put := func(bucket, key string, value any) {
		e.t.Helper()
		text, err := json.Marshal(value)
		if err == nil {
			err = db.Update(func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucketIfNotExists([]byte(bucket))
				if err != nil {
					return err
				}
				return b.Put([]byte(key), text)
			})
		}
		if err != nil {
			e.t.Fatal(err)
		}
	}
	for key, value := range map[string]string{
		"agent-version": "1.99.0", "container-instance-arn": instance, "cluster-name": e.Cluster, "task-manifest-seq-num": "1",
	} {
		put("metadata", key, value)
	}
	for _, task := range tasks {
		id := task.TaskARN[strings.LastIndexByte(task.TaskARN, '/')+1:]
		credentials := strings.TrimPrefix(e.variable(task, "app", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), "/v2/credentials/")
		saved := M{"Arn": task.TaskARN, "Family": "f", "Version": "1", "NetworkMode": "bridge", "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING", "credentialsID": credentials}
		var containers []M
		for _, c := range task.Containers {
			info := e.inspect(task, c.Name)
			one := M{
				"Name": c.Name, "taskARN": task.TaskARN, "RuntimeID": c.RuntimeID, "Image": c.Image, "Essential": c.Name == "app", "KnownStatus": "RUNNING",
				"V3EndpointID": strings.TrimPrefix(e.v4(task, c.Name), "/v4/"),
			}
			containers = append(containers, one)
			put("containers", id+"-"+c.Name, M{"DockerId": c.RuntimeID, "DockerName": strings.TrimPrefix(info.Name, "/"), "Container": one})
		}
		saved["Containers"] = containers
		put("tasks", id, saved)
	}
}

// The official agent's place is taken while its tasks run: the container instance and the
// tasks go on, with their credentials and metadata, and what ended meanwhile is told.
func TestOfficialAgentIsReplaced(t *testing.T) {
	e := onBridge(t).started()
	instance := e.instance()
	stays := e.running(withRoles(bridged(sleeper("app"), sleeper("side", M{"essential": false}))))
	ends := e.running(withRoles(bridged(sleeper("app"))))
	before := e.inspect(stays, "app")
	if _, err := e.Agent.Stop(patience); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(e.Dir, "data")
	own, err := filepath.Glob(filepath.Join(data, "ecs-agent*"))
	if err != nil || len(own) == 0 {
		t.Fatalf("files of this agent: %v, %v", own, err)
	}
	e.officialState(data, instance.ARN, stays, ends)
	for _, f := range own {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := shared.docker.ContainerKill(e.ctx, ends.Container("app").RuntimeID, "KILL"); err != nil {
		t.Fatal(err)
	}
	e.restart()

	equal(t, "container instance", e.instance().ARN, instance.ARN)
	equal(t, "exit code", exitCode(e.stopped(ends.TaskARN).Container("app")), "137")
	after := e.inspect(stays, "app")
	equal(t, "start of the container", after.State.StartedAt, before.State.StartedAt)
	uri := e.variable(stays, "app", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
	e.eventually(patience, "the task's credentials", func() (bool, error) {
		status, _ := e.asked(uri)
		return status == 200, nil
	})
	if status, body := e.asked(e.v4(stays, "side") + "/task"); status != 200 || !strings.Contains(body, stays.TaskARN) || !strings.Contains(body, stays.Container("side").RuntimeID) {
		t.Errorf("metadata: %d %s", status, body)
	}
	equal(t, "exit code", exitCode(e.stop(stays.TaskARN).Container("app")), "0")
	e.alive()
	if _, err := os.Stat(filepath.Join(data, "agent.db")); err != nil {
		t.Error("the official agent's file is gone: there is no way back")
	}
}
