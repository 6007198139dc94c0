package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap/zaptest"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/config"
	"ecsagent/agent/registration"
	"ecsagent/agent/store"
	"ecsagent/agent/task"
)

func TestExitCode(t *testing.T) {
	plain := errors.New("no route")
	live := t.Context()
	stopped, cancel := context.WithCancel(live)
	cancel()
	failed, fail := context.WithCancelCause(live)
	fail(plain)
	updated, update := context.WithCancelCause(live)
	update(errUpdate)
	for name, c := range map[string]struct {
		ctx  context.Context
		err  error
		want int
	}{
		"ended as asked":            {stopped, nil, ExitOK},
		"asked while something ran": {stopped, plain, ExitOK},
		"failure":                   {live, plain, ExitFailure},
		"a part failed":             {failed, plain, ExitFailure},
		"terminal":                  {live, fmt.Errorf("start: %w", terminal(plain)), ExitTerminal},
		"registration":              {live, &registration.Error{Code: ExitTerminal, Err: plain}, ExitTerminal},
		"configuration":             {live, &config.LoadError{}, ExitFailure},
		"update":                    {updated, nil, ExitUpdate},
	} {
		if got := exitCode(c.ctx, c.err); got != c.want {
			t.Errorf("%s: exit code %d, want %d", name, got, c.want)
		}
	}
}

func TestIntrospectionAddress(t *testing.T) {
	for _, c := range []struct {
		address string
		offhost bool
		want    string
	}{
		{"127.0.0.1:51678", false, "127.0.0.1:51678"},
		{"127.0.0.1:51678", true, ":51678"},
		{"10.0.0.1:80", true, "10.0.0.1:80"},
		{"127.0.0.1:0", false, "127.0.0.1:0"},
	} {
		a := &agent{base: &base{cfg: &config.Config{IntrospectionAddress: c.address, AllowOffhostIntrospection: c.offhost}}}
		if got := a.introspectionAddress(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// saved opens a checkpoint that an instance left behind.
func saved(t *testing.T, ec2InstanceID string) *agent {
	t.Helper()
	log := zaptest.NewLogger(t)
	dir := t.TempDir()
	s, _, err := store.Open(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		s.SaveTasks(4, []task.Record{{Spec: &task.Spec{ARN: "arn:old"}}}),
		s.SetMeta(map[string]string{store.KeyInstanceARN: "arn:ci", store.KeyCluster: "prod", store.KeyEC2InstanceID: ec2InstanceID}),
		s.Close())
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{base: &base{cfg: &config.Config{DataDir: dir, Checkpoint: true}, log: log, imds: awsenv.BlackholedIMDS()}}
	a.store, a.loaded, err = openCheckpoint(a.cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	return a
}

func TestIdentityIsKept(t *testing.T) {
	a := saved(t, "i-1")
	id, err := a.identify(t.Context())
	want := savedIdentity{instanceARN: "arn:ci", cluster: "prod", ec2InstanceID: "i-1"}
	if err != nil || id != want {
		t.Errorf("identity %+v, error %v; want %+v", id, err, want)
	}
	if len(a.loaded.Tasks) != 1 || a.loaded.Seq != 4 {
		t.Errorf("saved tasks were lost: %+v", a.loaded)
	}
}

func TestStateOfAnotherInstanceIsForgotten(t *testing.T) {
	a := saved(t, "i-1")
	server := serveMetadata(t, map[string]string{"/latest/meta-data/instance-id": "i-2"})
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	a.imds = awsenv.NewIMDS(a.log)
	id, err := a.identify(t.Context())
	if want := (savedIdentity{ec2InstanceID: "i-2"}); err != nil || id != want {
		t.Errorf("identity %+v, error %v; want %+v", id, err, want)
	}
	if len(a.loaded.Tasks) != 0 || a.loaded.Seq != 0 {
		t.Errorf("tasks of the other instance: %+v", a.loaded)
	}
	a.close()
	s, again, err := store.Open(a.cfg.DataDir, a.log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(again.Tasks) != 0 || len(again.Meta) != 2 || again.Meta[store.KeyFormerClusters] != "prod" || again.Meta[store.KeyOfficial] != officialForeign {
		t.Errorf("the file still holds %+v", again)
	}
}

// TestContainersOfAFormerInstance: they are removed, not adopted, also when the agent
// is killed before it could, until they are gone.
func TestContainersOfAFormerInstance(t *testing.T) {
	a := saved(t, "i-1")
	id, err := a.startAnew(savedIdentity{instanceARN: "arn:ci", cluster: "prod", ec2InstanceID: "i-2"})
	if err != nil || id.instanceARN != "" || id.ec2InstanceID != "i-2" {
		t.Fatalf("identity %+v, error %v", id, err)
	}
	token, err := a.registrationToken(id)
	if again, _ := a.registrationToken(id); err != nil || token == "" || again != token {
		t.Errorf("token %q, then %q, error %v", token, again, err)
	}
	a.me.InstanceARN, a.me.Cluster = "arn:new", "test"
	if err := a.saveIdentity(id); err != nil {
		t.Fatal(err)
	}
	for _, start := range []string{"the same", "after a crash"} {
		l := a.leftovers()
		if l.Adopt || !l.Ours("prod") || !l.Ours("test") || l.Ours("other") {
			t.Errorf("%s: %+v", start, l)
		}
		a = reopened(t, a)
	}
	if a.loaded.Meta[store.KeyRegistrationToken] != "" || a.loaded.Meta[store.KeyInstanceARN] != "arn:new" {
		t.Errorf("saved %v", a.loaded.Meta)
	}
	a.leftovers().Removed()
	a = reopened(t, a)
	if l := a.leftovers(); !l.Adopt || l.Ours("prod") || !l.Ours("test") {
		t.Errorf("when they are gone: %+v", l)
	}
}

// TestWholeRecords: what has no task is taken for a lost one's unless the file was there, with
// an identity, and all of it could be read.
func TestWholeRecords(t *testing.T) {
	a := reopened(t, saved(t, "i-1"))
	if !a.leftovers().Whole {
		t.Errorf("the file is whole: %v %v", a.loaded.Meta, a.loaded.Problems)
	}
	a.loaded.Problems = []string{"a record was set aside"}
	if a.leftovers().Whole {
		t.Error("a record is lost")
	}
	a.loaded.Problems, a.loaded.Meta = nil, map[string]string{}
	if a.leftovers().Whole {
		t.Error("the file is a new one")
	}
}

func TestRegistrationTokenOutlivesACrash(t *testing.T) {
	a := saved(t, "i-1")
	id, err := a.startAnew(savedIdentity{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := a.registrationToken(id)
	if err != nil {
		t.Fatal(err)
	}
	a = reopened(t, a)
	if again, err := a.registrationToken(id); err != nil || again != token {
		t.Errorf("token %q, then %q, error %v", token, again, err)
	}
}

// reopened is the agent after a crash.
func reopened(t *testing.T, a *agent) *agent {
	t.Helper()
	a.close()
	b := &agent{base: a.base}
	b.me.Cluster = a.me.Cluster
	var err error
	if b.store, b.loaded, err = openCheckpoint(a.cfg, a.log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

func TestCloudInitWithoutDataSource(t *testing.T) {
	for name, c := range map[string]struct {
		result, userData string
		fails            bool
	}{
		"none, with user data":    {`{"v1":{"datasource":"DataSourceNone"}}`, "#!/bin/sh", true},
		"none, without user data": {`{"v1":{"datasource":"DataSourceNone"}}`, "", false},
		"found":                   {`{"v1":{"datasource":"DataSourceEc2Local"}}`, "#!/bin/sh", false},
		"not JSON":                {`{`, "#!/bin/sh", false},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "result.json")
			if err := os.WriteFile(file, []byte(c.result), 0o600); err != nil {
				t.Fatal(err)
			}
			paths := map[string]string{}
			if c.userData != "" {
				paths["/latest/user-data"] = c.userData
			}
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", serveMetadata(t, paths))
			t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
			log := zaptest.NewLogger(t)
			a := &agent{base: &base{cfg: &config.Config{CloudInitResultFile: file}, log: log, imds: awsenv.NewIMDS(log)}}
			err := a.checkCloudInit(t.Context())
			if (err != nil) != c.fails {
				t.Errorf("error %v", err)
			}
			if err != nil && exitCode(t.Context(), err) != ExitTerminal {
				t.Errorf("exit code %d, want terminal", exitCode(t.Context(), err))
			}
		})
	}
}
