package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"ecsagent/controlplane/api"
)

func TestStateOutlivesARestart(t *testing.T) {
	w := newWorld(t, t.TempDir())
	host := w.ready()
	w.define("web", nil)
	w.define("role", func(def, _ m) { def["taskRoleArn"] = "arn:aws:iam::1:role/app" })
	acked := w.run("web").TaskARN
	w.ack()
	w.submit(acked, "RUNNING", c("app", "RUNNING", "runtimeId", "r1"))
	unacked := must[api.TasksResponse](w, "RunTask", m{"taskDefinition": "role", "clientToken": "once"}).Tasks[0].TaskARN
	_, sent := w.link.last(t)
	stopping := w.run("web").TaskARN
	w.ack0(2) // the run of the stopping task
	must[api.StopTaskResponse](w, "StopTask", m{"task": stopping, "reason": "enough"})
	stopped := w.run("web").TaskARN
	w.submit(stopped, "STOPPED", c("app", "STOPPED", "exitCode", 1))
	must[api.DescribeTaskDefinitionResponse](w, "DeregisterTaskDefinition", m{"taskDefinition": "web:2"})

	before := map[string]api.Task{}
	for _, arn := range []string{acked, unacked, stopping, stopped} {
		before[arn] = w.describe(arn)
	}
	instance := w.instance(host)
	w.restart()

	// Only what no agent has acknowledged is delivered again, as it was.
	again := map[string]map[string]any{}
	for _, p := range w.link.parcels() {
		for _, task := range p.tasks {
			again[task["arn"].(string)] = task
		}
	}
	if len(again) != 2 || again[unacked]["desiredStatus"] != "RUNNING" || again[stopping]["desiredStatus"] != "STOPPED" {
		t.Errorf("delivered again: %v", again)
	}
	if diff := cmp.Diff(sent, again[unacked]); diff != "" {
		t.Error(diff)
	}
	for arn, want := range before {
		if want.LastStatus != "STOPPED" {
			want.Connectivity = "DISCONNECTED"
		}
		if diff := cmp.Diff(want, w.describe(arn)); diff != "" {
			t.Errorf("task: %s", diff)
		}
	}
	instance.AgentConnected = false
	if diff := cmp.Diff(instance, w.instance(host)); diff != "" {
		t.Errorf("instance: %s", diff)
	}
	w.s.Connected(host, true, "1.105.1", "1a2b3c4d", "25.0.8")
	w.submit(acked, "STOPPED", c("app", "STOPPED", "exitCode", 0))
	if got := w.describe(acked); got.LastStatus != "STOPPED" || got.StopCode != "EssentialContainerExited" {
		t.Errorf("the task does not go on: %+v", got)
	}
	if d := w.define("web", nil); d.Revision != 3 {
		t.Errorf("revision %d", d.Revision)
	}
	if got := must[api.TasksResponse](w, "RunTask", m{"taskDefinition": "role", "clientToken": "once"}).Tasks[0].TaskARN; got != unacked {
		t.Error("the client token is forgotten")
	}
}

// ack0 acknowledges one payload by its position.
func (w *world) ack0(i int) {
	p := w.link.parcels()[i]
	w.s.PayloadAcked(p.instance, p.id)
}

func TestBadStateFiles(t *testing.T) {
	t.Run("in use", func(t *testing.T) {
		dir := t.TempDir()
		newWorld(t, dir)
		if s, err := New(Options{DataDir: dir}); err == nil {
			s.Close()
			t.Error("opened twice")
		} else if !strings.Contains(err.Error(), "is another ecs-local using it?") {
			t.Error(err)
		}
	})
	for name, spoil := range map[string]func(tx *bolt.Tx) error{
		"format": func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte("9")) },
		"record": func(tx *bolt.Tx) error { return tx.Bucket([]byte("tasks")).Put([]byte("x"), []byte("{")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := New(Options{DataDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.store.db.Update(spoil); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err := New(Options{DataDir: dir}); err == nil {
				s.Close()
				t.Error("opened")
			}
		})
	}
	t.Run("not a state file", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "ecs-local.db"), []byte(strings.Repeat("garbage\n", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := New(Options{DataDir: dir}); err == nil {
			s.Close()
			t.Error("opened")
		}
	})
}

func TestFailedWritesAreToldAndTriedAgain(t *testing.T) {
	w := newWorld(t, t.TempDir())
	db := w.s.store.db
	broken, err := bolt.Open(filepath.Join(t.TempDir(), "no-buckets.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	w.s.store.db = broken
	wantError(t, w.try("CreateCluster", m{"clusterName": "kept"}, nil), "ServerException", "")
	w.s.store.db = db
	must[api.ClusterResponse](w, "CreateCluster", m{"clusterName": "next"})
	w.restart()
	if got := must[api.ListClustersResponse](w, "ListClusters", m{}).ClusterARNs; len(got) != 2 {
		t.Errorf("clusters %v", got)
	}
}

func TestClosed(t *testing.T) {
	w := newWorld(t, "")
	w.ready()
	events := w.s.Watch(t.Context())
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	for range events { // ends with the service
	}
	for range w.s.Watch(t.Context()) {
	}
	wantError(t, w.try("RunTask", m{"taskDefinition": "web"}, nil), "ServerException", "The service is shutting down.")
	w.s.Connected("none", true, "", "", "")
}
