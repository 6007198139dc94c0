package linux

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestDiskUsed(t *testing.T) {
	dir := t.TempDir()
	got, err := DiskUsed(dir)
	if err != nil || got < 0 || got > 100 {
		t.Fatalf("%v, %v", got, err)
	}
	// df rounds up to whole per cents; the disk may be written to meanwhile.
	out, err := exec.CommandContext(t.Context(), "df", "--output=pcent", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(out))
	want, err := strconv.ParseFloat(strings.TrimSuffix(fields[len(fields)-1], "%"), 64)
	if err != nil || got > want+2 || got < want-3 {
		t.Errorf("got %.1f, df says %v, %v", got, want, err)
	}
	if _, err := DiskUsed(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		if _, err := DiskUsed("/proc"); err == nil {
			t.Error("a file system without a size must be an error")
		}
	}
}
