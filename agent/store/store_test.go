package store

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"pgregory.net/rapid"

	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dir string) (*Store, *Loaded) {
	t.Helper()
	s, loaded, err := Open(dir, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, loaded
}

func reopen(t testing.TB, s *Store, dir string) (*Store, *Loaded) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func record(n int) task.Record {
	code := n
	return task.Record{
		Spec: &task.Spec{ARN: fmt.Sprintf("arn:task/c/%03d", n), Family: "web", Version: "1",
			Containers: []task.Container{{Name: "app", Image: "web:1", Essential: true}}},
		State: task.State{Desired: task.Running, Known: task.Created, Containers: []task.ContainerState{{
			Known: task.ContainerCreated, DockerName: fmt.Sprintf("ecs-web-1-app-%d", n), ExitCode: &code,
			StartedAt: time.Unix(1700000000, 0).UTC(),
		}}},
		Sent: task.Sent{Task: task.ManifestPulled, Containers: map[string]task.ContainerStatus{"app": task.ContainerManifestPulled}},
	}
}

func TestWhatIsSavedIsLoaded(t *testing.T) {
	dir := t.TempDir()
	s, loaded := open(t, dir)
	if len(loaded.Tasks) != 0 || loaded.Seq != 0 {
		t.Fatalf("a new store holds %+v", loaded)
	}
	records := []task.Record{record(1), record(2), record(3)}
	must(t, s.SaveTasks(7, records))
	must(t, s.SetMeta(map[string]string{KeyInstanceARN: "arn:ci", KeyCluster: "c"}))
	must(t, s.SetMeta(map[string]string{KeyCluster: ""}))
	must(t, s.SaveAttachment("0a:1b", map[string]string{"ARN": "a"}))
	must(t, s.SaveImages(map[string]any{"sha256:1": 1, "sha256:2": 2}))
	must(t, s.SaveImages(map[string]any{"sha256:1": nil}))
	must(t, s.SaveUsage("c1", 1))
	must(t, s.SaveUsage("c2", 2))
	must(t, s.DeleteUsage("c1"))
	must(t, s.DeleteTask(records[1].Spec.ARN))
	records[0].State.Known = task.Running
	must(t, s.SaveState(records[0].Spec.ARN, records[0].State))
	records[2].Sent.Task = task.Running
	must(t, s.SaveSent(records[2].Spec.ARN, records[2].Sent))
	must(t, s.SaveSequence(9))

	_, loaded = reopen(t, s, dir)
	want := []task.Record{records[0], records[2]}
	if diff := cmp.Diff(want, loaded.Tasks); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
	if loaded.Seq != 9 {
		t.Errorf("sequence number %d, want 9", loaded.Seq)
	}
	if diff := cmp.Diff(map[string]string{KeyInstanceARN: "arn:ci"}, loaded.Meta); diff != "" {
		t.Errorf("meta (-want +got):\n%s", diff)
	}
	if len(loaded.Usage) != 1 || string(loaded.Usage["c2"]) != "2" {
		t.Errorf("usage %s", loaded.Usage)
	}
	if len(loaded.Images) != 1 || string(loaded.Images["sha256:2"]) != "2" {
		t.Errorf("images %s", loaded.Images)
	}
	if got := string(loaded.Attachments["0a:1b"]); got != `{"ARN":"a"}` {
		t.Errorf("attachment %s", got)
	}
}

func TestClearForgetsEverything(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	must(t, s.SaveTasks(3, []task.Record{record(1)}))
	must(t, s.SetMeta(map[string]string{KeyInstanceARN: "x"}))
	must(t, s.Clear(map[string]string{KeyFormerClusters: "old"}))
	_, loaded := reopen(t, s, dir)
	if len(loaded.Tasks) != 0 || loaded.Seq != 0 || len(loaded.Meta) != 1 || loaded.Meta[KeyFormerClusters] != "old" {
		t.Errorf("after Clear the store holds %+v", loaded)
	}
}

func TestSecondAgentIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, _, err := Open(dir, zaptest.NewLogger(t)); !errors.Is(err, ErrInUse) {
		t.Errorf("error %v, want ErrInUse", err)
	}
}

func TestBadRecordIsSetAsideAlone(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	must(t, s.SaveTasks(5, []task.Record{record(1), record(2), record(3)}))
	must(t, s.write("state", []put{
		{bucket: specBucket, key: []byte(record(1).Spec.ARN), value: []byte("{")},
		{bucket: stateBucket, key: []byte(record(2).Spec.ARN), value: []byte(`{"Known":"RUNNING"}`)},
		{bucket: metaBucket, key: []byte(keySequence), value: []byte("many")},
	}))
	s, loaded := reopen(t, s, dir)
	if len(loaded.Problems) != 3 {
		t.Errorf("problems %q, want 3", loaded.Problems)
	}
	if len(loaded.Tasks) != 2 {
		t.Fatalf("%d tasks, want the two whose spec is readable", len(loaded.Tasks))
	}
	if got := loaded.Tasks[0].State; len(got.Containers) != 0 || got.Known != task.None {
		t.Errorf("a state that does not fit was used: %+v", got)
	}
	if diff := cmp.Diff(record(3), loaded.Tasks[1]); diff != "" {
		t.Errorf("the good task changed (-want +got):\n%s", diff)
	}
	must(t, s.db.View(func(tx *bolt.Tx) error {
		if n := tx.Bucket(asideBucket).Stats().KeyN; n != 3 {
			t.Errorf("%d records set aside, want 3", n)
		}
		return nil
	}))
	if _, loaded = reopen(t, s, dir); len(loaded.Problems) != 0 {
		t.Errorf("problems are reported again: %q", loaded.Problems)
	}
}

func TestWriteThatChangesNothingTouchesNoDisk(t *testing.T) {
	s, _ := open(t, t.TempDir())
	r := record(1)
	must(t, s.SaveTasks(1, []task.Record{r}))
	stats := s.db.Stats()
	before := stats.TxStats.GetWrite()
	must(t, s.SaveState(r.Spec.ARN, r.State))
	must(t, s.SaveTasks(1, []task.Record{r}))
	must(t, s.DeleteTask("arn:unknown"))
	stats = s.db.Stats()
	if after := stats.TxStats.GetWrite(); after != before {
		t.Errorf("%d pages written for nothing", after-before)
	}
}

func TestWriteAfterCloseIsRefused(t *testing.T) {
	s, _ := open(t, t.TempDir())
	must(t, s.Close())
	if err := s.SaveSequence(1); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

// Whatever the order and the concurrency of writes, the last one of each key is
// what a reader finds.
func TestConcurrentWritesKeepTheLastOfEachKey(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := quickDir(t)
		s, _, err := Open(dir, zaptest.NewLogger(t))
		must(t, err)
		tasks := rapid.IntRange(1, 5).Draw(rt, "tasks")
		writes := rapid.IntRange(1, 8).Draw(rt, "writes")
		var wg sync.WaitGroup
		for n := range tasks {
			wg.Go(func() {
				r := record(n)
				_ = s.SaveTasks(int64(n+1), []task.Record{r})
				for w := range writes {
					r.State.Containers[0].RestartCount = w
					_ = s.SaveState(r.Spec.ARN, r.State)
				}
			})
		}
		wg.Wait()
		must(t, s.Close())
		s, loaded, err := Open(dir, zaptest.NewLogger(t))
		must(t, err)
		defer s.Close()
		if len(loaded.Tasks) != tasks {
			rt.Fatalf("%d tasks, want %d", len(loaded.Tasks), tasks)
		}
		for _, r := range loaded.Tasks {
			if got := r.State.Containers[0].RestartCount; got != writes-1 {
				rt.Fatalf("%s has write %d, want %d", r.Spec.ARN, got, writes-1)
			}
		}
	})
}

func BenchmarkSaveState(b *testing.B) {
	s, _ := open(b, b.TempDir())
	b.RunParallel(func(pb *testing.PB) {
		r := record(1)
		for i := 0; pb.Next(); i++ {
			r.State.Containers[0].RestartCount = i
			if err := s.SaveState(r.Spec.ARN, r.State); err != nil {
				b.Fatal(err)
			}
		}
	})
}
