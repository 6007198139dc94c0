package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ecsagent/agent/task"
)

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("cannot mount a file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return path
}

// TestFullDisk: writes fail and are told of, nothing else happens, and when there is
// room again they succeed.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "size=1m")
	core, logs := observer.New(zap.ErrorLevel)
	s, _, err := Open(dir, zap.New(core))
	must(t, err)
	defer func() { _ = s.Close() }()
	small := record(1)
	must(t, s.SaveTasks(1, []task.Record{small}))
	ballast := fill(t, dir)
	big := record(2)
	big.Spec.Containers[0].Command = []string{strings.Repeat("x", 200<<10)}
	if err := s.SaveTasks(2, []task.Record{big}); !isDiskError(err) {
		t.Errorf("error %v, want the disk's", err)
	}
	if logs.FilterMessage("state not saved").Len() == 0 {
		t.Error("nobody was told")
	}
	must(t, os.Remove(ballast))
	must(t, s.SaveTasks(2, []task.Record{big}))
	must(t, s.Close())
	s, loaded, err := Open(dir, zap.NewNop())
	must(t, err)
	if len(loaded.Tasks) != 2 || loaded.Seq != 2 || len(loaded.Problems) > 0 {
		t.Errorf("%d tasks, sequence number %d, problems %q", len(loaded.Tasks), loaded.Seq, loaded.Problems)
	}
}

// TestReadOnlyDisk: what was saved is read, writes fail and are told of, and when the
// disk can be written to again so can the file.
func TestReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t, "size=1m")
	s, _, err := Open(dir, zap.NewNop())
	must(t, err)
	must(t, s.SaveTasks(3, []task.Record{record(1)}))
	must(t, s.Close())
	must(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	s, loaded, err := Open(dir, zap.NewNop())
	must(t, err)
	defer func() { _ = s.Close() }()
	if len(loaded.Tasks) != 1 || loaded.Seq != 3 || len(loaded.Problems) != 1 || !strings.Contains(loaded.Problems[0], "cannot be written to") {
		t.Errorf("loaded %+v", loaded)
	}
	r := record(1)
	r.State.Known = task.Running
	if err := s.SaveState(r.Spec.ARN, r.State); !errors.Is(err, errReadOnly) {
		t.Errorf("error %v", err)
	}
	if _, _, err := Open(dir, zap.NewNop()); !errors.Is(err, ErrInUse) {
		t.Errorf("a second agent: %v", err)
	}
	must(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""))
	for begin := time.Now(); ; {
		if err = s.SaveState(r.Spec.ARN, r.State); err == nil || time.Since(begin) > 20*time.Second {
			break
		}
	}
	must(t, err)
	must(t, s.Close())
	s, loaded, err = Open(dir, zap.NewNop())
	must(t, err)
	if len(loaded.Tasks) != 1 || loaded.Tasks[0].State.Known != task.Running {
		t.Errorf("loaded %+v", loaded)
	}
}
