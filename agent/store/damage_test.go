package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"ecsagent/agent/task"
)

// bigFile is the content of a file whose trees have branches and overflow pages.
func bigFile(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	s, _, err := Open(dir, zap.NewNop())
	must(t, err)
	must(t, s.SetMeta(map[string]string{KeyInstanceARN: "arn:ci", KeyCluster: "c", KeyEC2InstanceID: "i-1"}))
	var all []task.Record
	for i := range 60 {
		r := record(i)
		r.Spec.Containers[0].Command = []string{strings.Repeat("x", i*150)}
		all = append(all, r)
	}
	must(t, s.SaveTasks(7, all))
	must(t, s.DeleteTask(all[3].Spec.ARN))
	must(t, s.Close())
	content, err := os.ReadFile(filepath.Join(dir, FileName))
	must(t, err)
	return content
}

func openContent(t testing.TB, content []byte) (dir string, s *Store, loaded *Loaded) {
	t.Helper()
	dir = t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, FileName), content, 0o600))
	s, loaded, err := Open(dir, zap.NewNop())
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return dir, s, loaded
}

func TestSoundFileIsFoundSound(t *testing.T) {
	content := bigFile(t)
	records, damage := survey(content)
	if len(damage) > 0 {
		t.Fatalf("damage: %q", damage)
	}
	path := filepath.Join(t.TempDir(), "x.db")
	must(t, os.WriteFile(path, content, 0o600))
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	defer db.Close()
	var want []found
	must(t, db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				want = append(want, found{bytes.Clone(name), bytes.Clone(k), bytes.Clone(v)})
				return nil
			})
		})
	}))
	same := func(a, b found) bool {
		return bytes.Equal(a.bucket, b.bucket) && bytes.Equal(a.key, b.key) && bytes.Equal(a.value, b.value)
	}
	if !slices.EqualFunc(records, want, same) {
		t.Errorf("%d records, bbolt has %d", len(records), len(want))
	}
}

// TestDamagedFile: the file is kept, told of, and what can be read of it is used.
func TestDamagedFile(t *testing.T) {
	whole := bigFile(t)
	page := os.Getpagesize()
	leaf := func(b []byte) int { // offset of the last page of records
		for at := len(b) - page; at > 0; at -= page {
			if binary.NativeEndian.Uint16(b[at+8:]) == leafPage && binary.NativeEndian.Uint16(b[at+10:]) > 0 {
				return at
			}
		}
		t.Fatal("no leaf")
		return 0
	}
	tests := []struct {
		name   string
		change func(b []byte) []byte
		tasks  [2]int // at least, at most
	}{
		{"foreign", func([]byte) []byte { return []byte(strings.Repeat("not a database\n", 5000)) }, [2]int{0, 0}},
		{"short", func([]byte) []byte { return []byte("x") }, [2]int{0, 0}},
		{"truncated", func(b []byte) []byte { return b[:len(b)/2] }, [2]int{0, 58}},
		{"last page missing", func(b []byte) []byte { return b[:int(validMetas(b)[0].pages-1)*page] }, [2]int{0, 60}},
		{"half-written", func(b []byte) []byte { return append(b[:len(b)/2], make([]byte, len(b)/2)...) }, [2]int{0, 58}},
		{"one page overwritten", func(b []byte) []byte {
			at := leaf(b)
			copy(b[at:at+page], bytes.Repeat([]byte{0xAA}, page))
			return b
		}, [2]int{1, 60}}, // 60 where the transaction before is used
		{"one header gone", func(b []byte) []byte { copy(b[:page], make([]byte, page)); return b }, [2]int{0, 60}},
		{"both headers gone", func(b []byte) []byte { copy(b[:2*page], make([]byte, 2*page)); return b }, [2]int{0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, s, loaded := openContent(t, tt.change(bytes.Clone(whole)))
			kept, _ := filepath.Glob(filepath.Join(dir, FileName+".unreadable-*"))
			if tt.name == "one header gone" {
				if len(kept) != 0 { // the other header is what there are two for
					t.Errorf("%d files kept aside", len(kept))
				}
			} else if len(kept) != 1 || len(loaded.Problems) < 2 {
				t.Errorf("%d files kept aside, want 1; problems %q", len(kept), loaded.Problems)
			}
			if n := len(loaded.Tasks); n < tt.tasks[0] || n > tt.tasks[1] {
				t.Errorf("%d tasks, want %d to %d", n, tt.tasks[0], tt.tasks[1])
			}
			must(t, s.SaveTasks(8, []task.Record{record(1)}))
			if _, loaded = reopen(t, s, dir); len(loaded.Problems) > 0 {
				t.Errorf("told again: %q", loaded.Problems)
			}
		})
	}
}

func TestEmptyFileIsANewOne(t *testing.T) {
	_, _, loaded := openContent(t, nil)
	if len(loaded.Problems) != 0 {
		t.Errorf("problems %q", loaded.Problems)
	}
}

// TestIdentityOutlivesTheFile: a damaged file does not make a new instance; a removed
// one does.
func TestIdentityOutlivesTheFile(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	must(t, s.SetMeta(map[string]string{KeyInstanceARN: "arn:ci", KeyCluster: "c", KeyEC2InstanceID: "i-1"}))
	must(t, s.Close())
	path := filepath.Join(dir, FileName)
	must(t, os.WriteFile(path, []byte("rubbish"), 0o600))
	s, loaded := open(t, dir)
	if loaded.Meta[KeyInstanceARN] != "arn:ci" || loaded.Meta[KeyCluster] != "c" || loaded.Meta[KeyEC2InstanceID] != "i-1" {
		t.Errorf("meta %v", loaded.Meta)
	}
	must(t, s.Close())
	must(t, os.Remove(path))
	s, loaded = open(t, dir)
	if len(loaded.Meta) != 0 {
		t.Errorf("the state file was removed, and the identity is %v", loaded.Meta)
	}
	must(t, s.SetMeta(map[string]string{KeyInstanceARN: "arn:new"}))
	must(t, s.Clear(nil))
	must(t, s.Close())
	must(t, os.WriteFile(path, []byte("rubbish"), 0o600))
	if _, loaded = open(t, dir); len(loaded.Meta) != 0 {
		t.Errorf("the state was cleared, and the identity is %v", loaded.Meta)
	}
}

func TestRetiredFileIsNotOpenedAgain(t *testing.T) {
	dir := t.TempDir()
	must(t, Retire(dir))
	s, _ := open(t, dir)
	must(t, s.SetMeta(map[string]string{KeyInstanceARN: "arn:ci"}))
	if err := Retire(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("a file in use is retired: %v", err)
	}
	must(t, s.Close())
	must(t, Retire(dir))
	if _, loaded := open(t, dir); len(loaded.Meta) != 0 {
		t.Errorf("meta %v", loaded.Meta)
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, FileName+".former-*")); len(kept) != 1 {
		t.Errorf("kept %q", kept)
	}
}

func TestClearBesideOtherWrites(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	must(t, s.SaveTasks(1, []task.Record{record(1)}))
	// As one batch: a write before, Clear, a write after.
	before, err := s.enqueue(&write{puts: []put{{metaBucket, []byte("x"), []byte("1")}}})
	must(t, err)
	clearing, err := s.enqueue(&write{clear: true})
	must(t, err)
	after, err := s.enqueue(&write{puts: []put{{metaBucket, []byte("y"), []byte("2")}}})
	must(t, err)
	s.signal()
	must(t, errors.Join(<-before, <-clearing, <-after))
	_, loaded := reopen(t, s, dir)
	if len(loaded.Tasks) != 0 || len(loaded.Meta) != 1 || loaded.Meta["y"] != "2" {
		t.Errorf("left %+v", loaded)
	}
}

// quickDir is a folder in memory where there is one: a fuzzer does not wait for disks.
func quickDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "store")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// FuzzSurvey: no content of the file makes survey or, where survey finds nothing wrong,
// bbolt fail.
func FuzzSurvey(f *testing.F) {
	whole := bigFile(f)
	small := func() []byte {
		dir := f.TempDir()
		s, _, err := Open(dir, zap.NewNop())
		must(f, err)
		must(f, s.SaveTasks(1, []task.Record{record(1), record(2)}))
		must(f, s.Close())
		content, err := os.ReadFile(filepath.Join(dir, FileName))
		must(f, err)
		return content
	}()
	f.Add(whole, uint32(0), []byte{})
	f.Add(small, uint32(0), []byte{})
	for at := 4096; at < len(small); at += 1000 {
		f.Add(small, uint32(at), []byte{0xFF, 0xFF})
	}
	for _, at := range []int{4096*4 + 8, 4096*4 + 10, 4096*4 + 12, 4096*4 + 16} {
		f.Add(small, uint32(at), []byte{1, 0})
	}
	f.Fuzz(func(t *testing.T, content []byte, at uint32, patch []byte) {
		content = bytes.Clone(content)
		if int(at) < len(content) {
			copy(content[at:], patch)
		}
		_, damage := survey(content)
		dir := quickDir(t)
		must(t, os.WriteFile(filepath.Join(dir, FileName), content, 0o600))
		s, loaded, err := Open(dir, zap.NewNop())
		must(t, err)
		defer s.Close()
		if len(damage) > 0 && len(loaded.Problems) == 0 {
			t.Errorf("damage %q was not told", damage)
		}
		r := record(9)
		must(t, s.SaveTasks(1<<40, []task.Record{r}))
		must(t, s.Close())
		again, loaded, err := Open(dir, zaptest.NewLogger(t))
		must(t, err)
		defer again.Close()
		if loaded.Seq != 1<<40 || !slices.ContainsFunc(loaded.Tasks, func(have task.Record) bool { return have.Spec.ARN == r.Spec.ARN }) {
			t.Errorf("after the damage a write is lost: %d tasks, sequence number %d", len(loaded.Tasks), loaded.Seq)
		}
	})
}

// FuzzLoad: no record makes the loader fail or spoil another.
func FuzzLoad(f *testing.F) {
	for i, bucket := range buckets {
		f.Add(uint8(i), []byte("arn:task/c/001"), []byte("{}"))
		f.Add(uint8(i), []byte(fmt.Sprintf("%s-1", bucket)), []byte(`{"ARN":"arn:task/c/001","Containers":[null]}`))
	}
	f.Add(uint8(0), []byte(keySequence), []byte("-1"))
	f.Add(uint8(0), []byte(keySchema), []byte("9"))
	f.Fuzz(func(t *testing.T, which uint8, key, value []byte) {
		if len(key) == 0 || len(key) > bolt.MaxKeySize {
			return
		}
		dir := quickDir(t)
		s, _, err := Open(dir, zap.NewNop())
		must(t, err)
		good := record(77)
		bucket := buckets[int(which)%len(buckets)]
		if string(key) == good.Spec.ARN {
			return
		}
		must(t, s.SaveTasks(5, []task.Record{good}))
		must(t, s.write("state", []put{{bucket: bucket, key: key, value: value}}))
		must(t, s.Close())
		s, loaded, err := Open(dir, zap.NewNop())
		must(t, err)
		defer s.Close()
		kept := slices.ContainsFunc(loaded.Tasks, func(r task.Record) bool { return r.Spec.ARN == good.Spec.ARN && r.State.Known == good.State.Known })
		if !kept {
			t.Errorf("record %q of %s spoiled another task: %q", key, bucket, loaded.Problems)
		}
	})
}
