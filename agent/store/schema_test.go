package store

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"

	"ecsagent/agent/task"
)

var update = flag.Bool("update", false, "write testdata/schema-N.db.gz of the newest schema and its golden file")

// fixture writes one record of every kind.
func fixture(t *testing.T, dir string) {
	s, _ := open(t, dir)
	must(t, s.SetMeta(map[string]string{
		KeyInstanceARN: "arn:aws:ecs:eu-west-1:111122223333:container-instance/c/0123", KeyCluster: "c", KeyEC2InstanceID: "i-0123",
		KeyAvailabilityZone: "eu-west-1a", KeyAgentVersion: "1.0.0",
	}))
	must(t, s.SaveTasks(41, []task.Record{record(1), record(2)}))
	stopped := record(2)
	stopped.State.Known, stopped.State.Containers[0].Known = task.Stopped, task.ContainerStopped
	stopped.State.Containers[0].Error = &task.Error{Name: "OutOfMemoryError", Message: "Container killed due to memory usage"}
	must(t, s.SaveState(stopped.Spec.ARN, stopped.State))
	must(t, s.SaveAttachment("0a:1b:2c:3d:4e:5f", map[string]string{"ARN": "arn:attachment"}))
	must(t, s.SaveImages(map[string]any{"sha256:01": map[string]string{"ImageID": "sha256:01"}}))
	must(t, s.SaveSequence(42))
	must(t, s.Close())
}

// TestEverySchemaIsRead opens a file of each schema ever shipped, with what was loaded
// from it then. `go test ./agent/store -run EverySchema -update` makes those of the
// newest schema.
func TestEverySchemaIsRead(t *testing.T) {
	newest := len(migrations)
	if *update {
		dir := t.TempDir()
		fixture(t, dir)
		content, err := os.ReadFile(filepath.Join(dir, FileName))
		must(t, err)
		out, err := os.Create(fmt.Sprintf("testdata/schema-%d.db.gz", newest))
		must(t, err)
		z, err := gzip.NewWriterLevel(out, gzip.BestCompression)
		must(t, err)
		_, err = z.Write(content)
		must(t, errors.Join(err, z.Close(), out.Close()))
	}
	for schema := 1; schema <= newest; schema++ {
		t.Run(fmt.Sprint(schema), func(t *testing.T) {
			in, err := os.Open(fmt.Sprintf("testdata/schema-%d.db.gz", schema))
			must(t, err)
			defer in.Close()
			z, err := gzip.NewReader(in)
			must(t, err)
			content, err := io.ReadAll(z)
			must(t, err)
			dir, s, loaded := openContent(t, content)
			golden := fmt.Sprintf("testdata/schema-%d.json", schema)
			got, err := json.MarshalIndent(loaded, "", "\t")
			must(t, err)
			if *update && schema == newest {
				must(t, os.WriteFile(golden, append(got, '\n'), 0o600))
			}
			want, err := os.ReadFile(golden)
			must(t, err)
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Errorf("loaded (-want +got):\n%s", diff)
			}
			must(t, s.SaveSequence(43))
			if _, loaded = reopen(t, s, dir); loaded.Seq != 43 || len(loaded.Tasks) != 2 {
				t.Errorf("written and read again: %+v", loaded)
			}
		})
	}
}

func TestMigration(t *testing.T) {
	dir := t.TempDir()
	fixture(t, dir)
	path := filepath.Join(dir, FileName)
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	defer func() { _ = db.Close() }()
	var order []string
	step := func(name string, err error) migration {
		return func(tx *bolt.Tx) error {
			order = append(order, name)
			return errors.Join(tx.Bucket(imageBucket).Put([]byte(name), []byte("1")), err)
		}
	}
	// A step that fails leaves the file as it was.
	failing := []migration{step("0 to 1", nil), step("1 to 2", nil), step("2 to 3", errors.New("no"))}
	if err := prepare(db, failing); err == nil || len(order) != 2 {
		t.Errorf("error %v after %q", err, order)
	}
	must(t, db.View(func(tx *bolt.Tx) error {
		if schema, err := schemaOf(tx, 3); schema != 1 || err != nil || tx.Bucket(imageBucket).Get([]byte("1 to 2")) != nil {
			t.Errorf("schema %d, %v", schema, err)
		}
		return nil
	}))
	order = nil
	must(t, prepare(db, []migration{step("0 to 1", nil), step("1 to 2", nil), step("2 to 3", nil)}))
	if diff := cmp.Diff([]string{"1 to 2", "2 to 3"}, order); diff != "" {
		t.Error(diff)
	}
	must(t, db.Close())

	// To this version it is a file of the future: kept, and its records used as far as
	// they can be read.
	s, loaded, err := Open(dir, zap.NewNop())
	must(t, err)
	defer s.Close()
	if len(loaded.Problems) == 0 || len(loaded.Tasks) != 2 || loaded.Meta[KeyCluster] != "c" {
		t.Errorf("loaded %+v", loaded)
	}
	if kept, _ := filepath.Glob(path + ".unreadable-*"); len(kept) != 1 {
		t.Errorf("kept %q", kept)
	}
}

// TestFileStaysSmall: a host with 200 tasks, each of which changed many times.
func TestFileStaysSmall(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	s.db.NoSync = true // only the size counts
	var all []task.Record
	for i := range 200 {
		r := record(i)
		for c := range 5 {
			more := r.Spec.Containers[0]
			more.Environment = make(map[string]string)
			more.Name, more.Image = fmt.Sprintf("c%d", c), "registry.example.com/some/where/image:tag"
			for e := range 40 {
				more.Environment[fmt.Sprintf("VARIABLE_%d", e)] = "a value of some length"
			}
			r.Spec.Containers = append(r.Spec.Containers, more)
			r.State.Containers = append(r.State.Containers, r.State.Containers[0])
		}
		all = append(all, r)
	}
	must(t, s.SaveTasks(1, all))
	for round := range 5 {
		for i := range all {
			all[i].State.Containers[0].RestartCount = round
			must(t, s.SaveState(all[i].Spec.ARN, all[i].State))
		}
	}
	must(t, s.Close())
	info, err := os.Stat(filepath.Join(dir, FileName))
	must(t, err)
	t.Logf("%d bytes", info.Size())
	if info.Size() > 10<<20 {
		t.Errorf("%d bytes for 200 tasks, want less than 10 MiB", info.Size())
	}
}
