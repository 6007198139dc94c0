package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"ecsagent/agent/task"
)

// crash copies the files of a store as they are on disk, as a power loss would leave
// them.
func crash(t testing.TB, dir string) string {
	t.Helper()
	to := quickDir(t)
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(to, f.Name()), content, 0o600))
	}
	return to
}

// written is a store with an instance and n tasks, one write each, that was not closed.
func written(t testing.TB, n int) (s *Store, dir string) {
	t.Helper()
	dir = quickDir(t)
	s, _ = open(t, dir)
	must(t, s.SetMeta(map[string]string{KeyInstanceARN: "arn:ci"}))
	for i := range n {
		must(t, s.SaveTasks(int64(i+1), []task.Record{record(i)}))
	}
	return s, dir
}

func pagesWritten(s *Store) int64 {
	stats := s.db.Stats()
	return stats.TxStats.GetWrite()
}

func TestCrashLosesNoEntry(t *testing.T) {
	s, dir := written(t, 3)
	before := pagesWritten(s)
	r := record(1)
	r.State.Known = task.Running
	must(t, s.SaveState(r.Spec.ARN, r.State))
	must(t, s.DeleteTask(record(2).Spec.ARN))
	if after := pagesWritten(s); after != before || s.journal.next != 5 {
		t.Errorf("%d pages of the state file written, %d entries", after-before, s.journal.next)
	}
	copied := crash(t, dir)
	for range 2 { // the second time from the state file alone
		again, loaded := open(t, copied)
		if diff := cmp.Diff([]task.Record{record(0), r}, loaded.Tasks); diff != "" || loaded.Seq != 3 || len(loaded.Problems) > 0 {
			t.Errorf("sequence number %d, problems %q, tasks (-want +got):\n%s", loaded.Seq, loaded.Problems, diff)
		}
		if loaded.Meta[KeyInstanceARN] != "arn:ci" || len(loaded.Meta) != 1 {
			t.Errorf("meta %v", loaded.Meta)
		}
		must(t, again.Close())
		must(t, os.RemoveAll(journalPath(filepath.Join(copied, FileName))))
	}
}

// A write after the crash must not bring entries of before it back.
func TestEntriesOfBeforeMeanNothing(t *testing.T) {
	_, dir := written(t, 6)
	dir = crash(t, dir)
	s, _ := open(t, dir)
	must(t, s.DeleteTask(record(5).Spec.ARN))
	dir = crash(t, dir)
	if _, loaded := open(t, dir); len(loaded.Tasks) != 5 || len(loaded.Problems) > 0 {
		t.Errorf("%d tasks, problems %q", len(loaded.Tasks), loaded.Problems)
	}
}

// TestJournalOfAnotherFile: a journal beside a state file that is not its own, such as
// one from a backup, is left alone.
func TestJournalOfAnotherFile(t *testing.T) {
	_, dir := written(t, 3)
	dir = crash(t, dir)
	_, other := written(t, 1)
	other = crash(t, other)
	journal, err := os.ReadFile(journalPath(filepath.Join(dir, FileName)))
	must(t, err)
	must(t, os.WriteFile(journalPath(filepath.Join(other, FileName)), journal, 0o600))
	if _, loaded := open(t, other); len(loaded.Tasks) != 0 || len(loaded.Problems) > 0 {
		t.Errorf("%d tasks, problems %q", len(loaded.Tasks), loaded.Problems)
	}
	must(t, os.Remove(filepath.Join(dir, FileName)))
	if _, loaded := open(t, dir); len(loaded.Tasks) != 0 || len(loaded.Problems) > 0 {
		t.Errorf("without its state file: %d tasks, problems %q", len(loaded.Tasks), loaded.Problems)
	}
}

func TestDamagedJournal(t *testing.T) {
	_, dir := written(t, 4)
	for name, c := range map[string]struct {
		change   func([]byte) []byte
		left     []int
		problems int
	}{
		"last entry cut off":       {func(b []byte) []byte { return b[:3*entryPage+100] }, []int{0, 1, 2}, 0},
		"last entry half written":  {func(b []byte) []byte { clear(b[3*entryPage+200:]); return b }, []int{0, 1, 2}, 0},
		"entry in the middle":      {func(b []byte) []byte { b[entryPage+50] ^= 1; return b }, []int{0, 2, 3}, 1},
		"header in the middle":     {func(b []byte) []byte { clear(b[entryPage : entryPage+32]); return b }, []int{0, 2, 3}, 1},
		"first entry":              {func(b []byte) []byte { b[40] ^= 1; return b }, []int{1, 2, 3}, 1},
		"length beyond the end":    {func(b []byte) []byte { b[entryPage+23] = 0xff; return b }, []int{0, 2, 3}, 1},
		"nothing left":             {func([]byte) []byte { return nil }, nil, 0},
		"another file's beginning": {func(b []byte) []byte { copy(b, "SQLite format 3\x00"); return b }, []int{1, 2, 3}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := crash(t, dir)
			path := journalPath(filepath.Join(dir, FileName))
			content, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, c.change(content), 0o600))
			_, loaded := open(t, dir)
			var left []int
			for _, r := range loaded.Tasks {
				left = append(left, *r.State.Containers[0].ExitCode)
			}
			if diff := cmp.Diff(c.left, left); diff != "" || len(loaded.Problems) != c.problems {
				t.Errorf("problems %q, tasks (-want +got):\n%s", loaded.Problems, diff)
			}
		})
	}
}

// TestFullJournal: what no longer fits, and what is long, goes into the state file
// together with what came before.
func TestFullJournal(t *testing.T) {
	s, dir := written(t, 1)
	runs := map[uint64]bool{}
	for i := range 3 * journalSize / entryPage {
		r := record(1)
		r.State.Containers[0].RestartCount = i
		must(t, s.SaveState(r.Spec.ARN, r.State))
		runs[s.journal.run] = true
	}
	if len(runs) != 3 && len(runs) != 4 {
		t.Errorf("%d runs of the journal", len(runs))
	}
	long := record(2)
	long.Spec.Containers[0].Command = []string{strings.Repeat("x", longestEntry)}
	before := pagesWritten(s)
	must(t, s.SaveTasks(9, []task.Record{long}))
	if pagesWritten(s) == before || len(s.pending) > 0 || s.journal.next != 0 {
		t.Error("a long write did not go into the state file")
	}
	if info, err := os.Stat(s.journal.path); err != nil || info.Size() != journalSize {
		t.Errorf("journal %+v, %v", info, err)
	}
	if _, loaded := open(t, crash(t, dir)); loaded.Seq != 9 || len(loaded.Tasks) != 2 {
		t.Errorf("sequence number %d, %d tasks", loaded.Seq, len(loaded.Tasks))
	}
}

// TestJournalThatCannotBeWritten: the state file takes over.
func TestJournalThatCannotBeWritten(t *testing.T) {
	dir := quickDir(t)
	must(t, os.Mkdir(journalPath(filepath.Join(dir, FileName)), 0o700))
	core, logs := observer.New(zap.WarnLevel)
	s, _, err := Open(dir, zap.New(core))
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	must(t, s.SetMeta(map[string]string{KeyInstanceARN: "arn:ci"}))
	must(t, s.SaveTasks(1, []task.Record{record(1)}))
	if logs.FilterMessage("journal not written: the state file is written instead").Len() != 1 {
		t.Errorf("log: %v", logs.All())
	}
	must(t, os.Remove(s.journal.path))
	must(t, s.SaveTasks(2, []task.Record{record(2)}))
	if s.journal.next != 1 {
		t.Error("the journal is not used again")
	}
	if _, loaded := open(t, crash(t, dir)); loaded.Seq != 2 || len(loaded.Tasks) != 2 || len(loaded.Problems) > 0 {
		t.Errorf("loaded %+v", loaded)
	}
}

// TestKeyThatTheStateFileRefuses: it is refused at once, and stands in nobody's way.
func TestKeyThatTheStateFileRefuses(t *testing.T) {
	s, _ := written(t, 1)
	for _, key := range []string{"", strings.Repeat("k", bolt.MaxKeySize+1)} {
		if err := s.SaveAttachment(key, 1); err == nil {
			t.Errorf("a key of %d bytes was taken", len(key))
		}
	}
	must(t, s.SaveTasks(2, []task.Record{record(2)}))
	must(t, s.SetMeta(map[string]string{KeyCluster: "c"}))
}

// TestCloseSettles: a store that was closed needs no journal.
func TestCloseSettles(t *testing.T) {
	s, dir := written(t, 2)
	must(t, s.Close())
	must(t, os.Remove(s.journal.path))
	if _, loaded := open(t, dir); loaded.Seq != 2 || len(loaded.Tasks) != 2 {
		t.Errorf("loaded %+v", loaded)
	}
}

// TestClearEmptiesTheJournal: what the instance of before wrote last is not the next
// one's.
func TestClearEmptiesTheJournal(t *testing.T) {
	s, dir := written(t, 2)
	must(t, s.Clear(map[string]string{KeyCluster: "next"}))
	if _, loaded := open(t, crash(t, dir)); len(loaded.Tasks) != 0 || loaded.Seq != 0 || len(loaded.Meta) != 1 {
		t.Errorf("loaded %+v", loaded)
	}
}

// Whatever is written, and whenever the power goes: what was acknowledged is there, and
// nothing else.
func TestCrashesAtAnyTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := quickDir(t)
		s, _ := open(t, dir)
		defer func() { _ = s.Close() }()
		want, seq := map[string]task.Record{}, int64(0)
		for range rapid.IntRange(1, 25).Draw(rt, "writes") {
			n := rapid.IntRange(0, 4).Draw(rt, "task")
			arn := record(n).Spec.ARN
			switch rapid.SampledFrom([]string{"save", "save", "state", "state", "sent", "delete", "long", "meta", "clear", "crash", "close"}).Draw(rt, "what") {
			case "save":
				seq++
				must(t, s.SaveTasks(seq, []task.Record{record(n)}))
				want[arn] = record(n)
			case "long":
				r := record(n)
				r.Spec.Family = strings.Repeat("f", rapid.IntRange(0, longestEntry).Draw(rt, "length"))
				must(t, s.SaveTasks(0, []task.Record{r}))
				want[arn] = r
			case "state":
				if r, known := want[arn]; known {
					r.State.TerminalReason = rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "reason")
					must(t, s.SaveState(arn, r.State))
					want[arn] = r
				}
			case "sent": // which may be late, but never after a later write
				if r, known := want[arn]; known {
					r.Sent.Task = task.Stopped
					must(t, s.SaveSent(arn, r.Sent))
					seq++
					must(t, s.SaveSequence(seq))
					want[arn] = r
				}
			case "delete":
				must(t, s.DeleteTask(arn))
				delete(want, arn)
			case "meta":
				must(t, s.SetMeta(map[string]string{KeyAgentVersion: fmt.Sprint(seq)}))
			case "clear":
				must(t, s.Clear(nil))
				clear(want)
				seq = 0
			case "crash":
				copied := crash(t, dir)
				must(t, s.Close())
				dir = copied
				s, _ = open(t, dir)
			case "close":
				s, _ = reopen(t, s, dir)
			}
		}
		_, loaded := open(t, crash(t, dir))
		got := map[string]task.Record{}
		for _, r := range loaded.Tasks {
			got[r.Spec.ARN] = r
		}
		if diff := cmp.Diff(want, got); diff != "" || loaded.Seq != seq || len(loaded.Problems) > 0 {
			rt.Fatalf("sequence number %d, want %d, problems %q, tasks (-want +got):\n%s", loaded.Seq, seq, loaded.Problems, diff)
		}
	})
}

// FuzzJournal: no content of the journal stops a start, and none that is not an entry of
// the run is used.
func FuzzJournal(f *testing.F) {
	j := journal{run: 7}
	entry := bytes.Clone(j.encode([]put{{specBucket, []byte("k"), []byte("v")}, {stateBucket, []byte("k"), nil}}))
	f.Add(entry)
	f.Add(append(bytes.Clone(entry), entry...))
	f.Add(entry[:100])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(quickDir(t), "journal")
		must(t, os.WriteFile(path, content, 0o600))
		puts, _ := readJournal(path, 7)
		if len(puts) > 0 && !bytes.Contains(content, entry[:16]) {
			t.Errorf("%d puts of no entry", len(puts))
		}
		db, err := bolt.Open(filepath.Join(filepath.Dir(path), "db"), 0o600, &bolt.Options{NoSync: true})
		must(t, err)
		defer db.Close()
		must(t, prepare(db, migrations))
		must(t, db.Update(func(tx *bolt.Tx) error {
			for _, p := range puts {
				if err := apply(tx, p); err != nil {
					return err
				}
			}
			return nil
		}))
	})
}
