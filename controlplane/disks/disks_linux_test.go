package disks

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func disks(t *testing.T) *Disks {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "volumes"))
	if err != nil && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Keep(nil); err != nil {
			t.Error(err)
		}
	})
	return d
}

func attached(t *testing.T, d *Disks, volume string, gib int) (loop string) {
	t.Helper()
	err := d.Attach(volume, gib)
	if errors.Is(err, unix.EPERM) || errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.device(volume)
}

// A volume is a disk with its id as serial number and blank at first, and keeps what is
// written to it while it is attached, over a restart too.
func TestVolume(t *testing.T) {
	d := disks(t)
	const volume = "vol-0123456789abcdef0"
	loop := attached(t, d, volume, 3)
	text, err := os.ReadFile(filepath.Join(Sys(d.dir), "block", loop, "serial"))
	if err != nil || string(text) != "vol0123456789abcdef0\n" {
		t.Fatalf("serial %q of %q: %v", text, loop, err)
	}
	device := filepath.Join("/dev", loop)
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Seek(0, 2)
	if err != nil || size != 3<<30 {
		t.Errorf("%d bytes: %v", size, err)
	}
	if _, err := f.WriteAt([]byte("hello"), 4096); err != nil {
		t.Error(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Error(err)
	}
	again, err := Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(again.Keep([]string{volume}), again.Attach(volume, 3)); err != nil || again.device(volume) != loop {
		t.Errorf("after a restart at %q, want %q: %v", again.device(volume), loop, err)
	}

	// One that is kept can be looked at; it is no disk any more.
	if err := again.Detach(volume, true); err != nil {
		t.Fatal(err)
	}
	if at := again.device(volume); at != "" {
		t.Errorf("still at %s", at)
	}
	kept, err := os.Open(filepath.Join(d.dir, keptFolder, volume+imageEnd))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	word := make([]byte, 5)
	if _, err := kept.ReadAt(word, 4096); err != nil || string(word) != "hello" {
		t.Errorf("%q: %v", word, err)
	}
	if err := again.Detach(volume, false); err != nil {
		t.Errorf("detached twice: %v", err)
	}
}

// What nobody knows goes, and a device that is another's stays.
func TestLeftovers(t *testing.T) {
	d := disks(t)
	first := attached(t, d, "vol-1", 1)
	attached(t, d, "vol-2", 1)
	if err := d.Keep([]string{"vol-1"}); err != nil || d.device("vol-1") != first || d.device("vol-2") != "" {
		t.Errorf("%v; vol-1 at %q, vol-2 at %q", err, d.device("vol-1"), d.device("vol-2"))
	}
	if images, _ := filepath.Glob(filepath.Join(d.dir, "*.img")); len(images) != 1 {
		t.Errorf("images %q", images)
	}
	// The note says that vol-3 is where vol-1 is.
	if err := os.WriteFile(filepath.Join(d.disk(first), "serial"), []byte("vol3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Detach("vol-3", false); err != nil {
		t.Error(err)
	}
	if behind, err := os.ReadFile(filepath.Join("/sys/block", first, "loop", "backing_file")); err != nil || !strings.Contains(string(behind), "vol-1") {
		t.Errorf("the device has %q behind it: %v", behind, err)
	}
	if err := release(first); err != nil {
		t.Error(err)
	}
}
