package app

import (
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap/zaptest"

	"ecsagent/agent/config"
	"ecsagent/agent/official"
	"ecsagent/agent/store"
)

// leave writes what the official agent leaves in a data directory.
func leave(t *testing.T) (cfg *config.Config) {
	t.Helper()
	cfg = &config.Config{DataDir: t.TempDir(), Checkpoint: true}
	db, err := bolt.Open(filepath.Join(cfg.DataDir, official.FileName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket([]byte("metadata"))
		if err == nil {
			err = meta.Put([]byte("container-instance-arn"), []byte(`"arn:instance"`))
		}
		if err != nil {
			return err
		}
		tasks, err := tx.CreateBucket([]byte("tasks"))
		if err == nil {
			err = tasks.Put([]byte("t1"), []byte(`{"Arn":"arn:t1","Containers":[{"Name":"a","RuntimeID":"d"}]}`))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// The official agent's state is taken over once, whole, and not again for an instance
// that this host is no more.
func TestOfficialStateIsTakenOnce(t *testing.T) {
	cfg := leave(t)
	open := func(instance string, tasks int) checkpoint {
		t.Helper()
		s, loaded, err := openCheckpoint(cfg, zaptest.NewLogger(t))
		if err != nil {
			t.Fatal(err)
		}
		if loaded.Meta[store.KeyInstanceARN] != instance || len(loaded.Tasks) != tasks {
			t.Errorf("loaded %+v, want instance %q and %d tasks", loaded, instance, tasks)
		}
		return s
	}
	s := open("arn:instance", 1)
	// As if the agent had been killed before the tasks were written.
	if err := s.DeleteTask("arn:t1"); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMeta(map[string]string{store.KeyOfficial: officialTaking}); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	s = open("arn:instance", 1)
	if err := s.DeleteTask("arn:t1"); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	s = open("arn:instance", 0)
	if err := s.Clear(map[string]string{store.KeyOfficial: officialForeign}); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	_ = open("", 0).Close()
}

func TestOfficialAgentStillRuns(t *testing.T) {
	cfg := leave(t)
	db, err := bolt.Open(filepath.Join(cfg.DataDir, official.FileName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, _, err := openCheckpoint(cfg, zaptest.NewLogger(t)); err == nil || !strings.Contains(err.Error(), "stop that agent first") || exitCode(t.Context(), err) != ExitTerminal {
		t.Errorf("%v, exit code %d", err, exitCode(t.Context(), err))
	}
}
