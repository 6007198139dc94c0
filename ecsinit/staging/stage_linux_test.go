package staging

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t testing.TB, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v: want it to say %q", err, part)
		}
	}
}

// write makes a file with its folders.
func write(t testing.TB, name, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(text), 0o644))
}

func TestFind(t *testing.T) {
	sys := t.TempDir()
	h := Host{Sys: sys}
	for name, serial := range map[string]string{
		"nvme0n1/device/serial": "vol0123456789abcdef0 \n", "nvme1n1/device/serial": "AWS0123\n",
		"vda/serial": "vol-0aaa\n", "nvme2n1/device/serial": "vol0bbb",
	} {
		write(t, filepath.Join(sys, "block", name), serial)
	}
	for _, name := range []string{"xvdf", "xvdba", "sdg"} {
		must(t, os.MkdirAll(filepath.Join(sys, "block", name), 0o755))
	}
	for _, c := range []struct{ volume, told, want string }{
		{"vol-0123456789abcdef0", "", "/dev/nvme0n1"},
		{"vol-0AAA", "/dev/xvdf", "/dev/vda"},
		{"vol-0ccc", "/dev/sdf", "/dev/xvdf"}, // Xen
		{"vol-0ccc", "/dev/xvdba", "/dev/xvdba"},
		{"vol-0ccc", "/dev/sdg", ""}, // it has another name here
		{"vol-0ccc", "/dev/nvme2n1", ""},
		{"vol-0ccc", "/dev/sd", ""},
		{"vol-0bb", "", ""},
		{"vol-0ccc", "", ""},
	} {
		got, err := h.find(c.volume, c.told)
		if got != c.want || c.want == "" && !errors.Is(err, ErrNoDevice) || c.want != "" && err != nil {
			t.Errorf("%s, told %q: %q, %v; want %q", c.volume, c.told, got, err, c.want)
		}
	}
	if _, err := (Host{Sys: filepath.Join(sys, "none")}).find("vol-1", ""); err == nil || errors.Is(err, ErrNoDevice) {
		t.Errorf("no list of disks: %v", err)
	}
}

// disk is a loop device that plays a volume.
type disk struct {
	t      *testing.T
	s      Stager
	image  string
	device string
}

const volume = "vol-0123456789abcdef0"

func newDisk(t *testing.T) *disk {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, tool := range []string{"losetup", "blkid", "mkfs.ext4", "resize2fs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs ", tool)
		}
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	d := &disk{t: t, image: filepath.Join(dir, "image")}
	write(t, d.image, "")
	must(t, os.Truncate(d.image, 32<<20))
	out, err := exec.Command("losetup", "--find", "--show", d.image).CombinedOutput()
	if err != nil {
		t.Skipf("no loop device: %v: %s", err, out)
	}
	d.device = strings.TrimSpace(string(out))
	t.Cleanup(func() { d.run("losetup", "--detach", d.device) })
	sys := filepath.Join(dir, "sys")
	write(t, filepath.Join(sys, "block", filepath.Base(d.device), "serial"), strings.ReplaceAll(volume, "-", ""))
	d.s = Stager{Host: Host{Sys: sys}, Folder: filepath.Join(dir, "mnt"), Log: zap.NewNop()}
	t.Cleanup(func() { _ = unix.Unmount(d.s.path("data"), unix.MNT_DETACH) })
	return d
}

func (d *disk) run(program string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		d.t.Errorf("%s %q: %v\n%s", program, args, err, out)
	}
}

func (d *disk) stage(r Request) error {
	r.VolumeID, r.Name = volume, "data"
	return d.s.Stage(d.t.Context(), r)
}

func (d *disk) size() uint64 {
	d.t.Helper()
	var st unix.Statfs_t
	must(d.t, unix.Statfs(d.s.path("data"), &st))
	return st.Blocks * uint64(st.Bsize)
}

func (d *disk) mounted(want bool) {
	d.t.Helper()
	on, err := mountedOn(d.s.path("data"))
	must(d.t, err)
	if (on != "") != want {
		d.t.Errorf("mounted: %q", on)
	}
}

// mayResize reports whether the kernel lets this process resize a mounted file system.
func mayResize(t *testing.T) bool {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	must(t, unix.Capget(&header, &data[0]))
	return data[unix.CAP_SYS_RESOURCE/32].Effective&(1<<(unix.CAP_SYS_RESOURCE%32)) != 0
}

// A blank volume is formatted once, is its containers' group's, keeps what is in it and
// grows.
func TestLifeOfAVolume(t *testing.T) {
	d := newDisk(t)
	ctx := t.Context()
	for range 2 {
		must(t, d.stage(Request{FileSystem: "ext4", Group: 912345}))
		d.mounted(true)
	}
	file := filepath.Join(d.s.path("data"), "file")
	write(t, file, "kept")
	info, err := os.Stat(d.s.path("data"))
	must(t, err)
	if stat := info.Sys().(*syscall.Stat_t); stat.Gid != 912345 || info.Mode().Perm()&0o070 != 0o070 || info.Mode()&os.ModeSetgid == 0 {
		t.Errorf("group %d, mode %v", stat.Gid, info.Mode())
	}
	empty, err := d.s.Usage("data")
	must(t, err)
	write(t, filepath.Join(d.s.path("data"), "large"), strings.Repeat("x", 4<<20))
	must(t, exec.CommandContext(ctx, "sync", "-f", file).Run())
	full, err := d.s.Usage("data")
	if err != nil || full.Size != empty.Size || full.Size == 0 || full.Used < empty.Used+4<<20 || full.Used > full.Size {
		t.Errorf("usage %+v, and with 4 MiB more %+v: %v", empty, full, err)
	}
	before := d.size()
	for range 2 {
		must(t, d.s.Unstage(ctx, "data"))
		d.mounted(false)
	}
	if _, err := os.Stat(d.s.path("data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	_, err = d.s.Usage("data")
	wants(t, err, "usage of "+d.s.path("data")+": no volume is mounted there")
	_, err = d.s.Usage("../data")
	wants(t, err, `Name is "../data"`)
	must(t, os.Truncate(d.image, 96<<20))
	d.run("losetup", "--set-capacity", d.device)
	must(t, d.stage(Request{})) // whatever it has
	if text, err := os.ReadFile(file); string(text) != "kept" {
		t.Errorf("%q, %v", text, err)
	}
	if after := d.size(); after < 2*before && mayResize(t) {
		t.Errorf("%d bytes became %d", before, after)
	}
	wants(t, d.s.Stage(ctx, Request{VolumeID: "vol-1", Name: "other"}), "volume vol-1: no such volume is attached")
	must(t, d.s.Unstage(ctx, "data"))
	wants(t, d.stage(Request{FileSystem: "ext2"}), "stage volume "+volume+" on "+d.device, "its file system is ext4: want ext2")
	d.mounted(false)
}

// What is on a volume is never written over.
func TestNotFormatted(t *testing.T) {
	for name, c := range map[string]struct {
		prepare string // a shell script that has $DEVICE
		wish    string
		want    string
	}{
		"unknown data": {`echo something | dd of=$DEVICE bs=1 seek=300000 2>/dev/null`, "", "data of a kind that is not known"},
		"a partition table": {`printf '\000\000\000\000\203\000\000\000\000\010\000\000\350\003\000\000' | dd of=$DEVICE bs=1 seek=446 2>/dev/null
			printf '\125\252' | dd of=$DEVICE bs=1 seek=510 2>/dev/null`, "ext4", "it holds a partition table (dos): want a file system"},
		"swap":       {`mkswap -q $DEVICE >/dev/null`, "", "it holds swap: want a file system of type ext2, ext3, ext4, xfs, or a blank volume"},
		"no program": {`true`, "xfs", "mkfs.xfs"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			if _, err := exec.LookPath("mkfs.xfs"); err == nil && c.wish == "xfs" {
				t.Skip("this host makes xfs")
			}
			d.run("env", "DEVICE="+d.device, "sh", "-euc", c.prepare)
			d.run("sync")
			before, err := os.ReadFile(d.image)
			must(t, err)
			wants(t, d.stage(Request{FileSystem: c.wish}), c.want)
			d.mounted(false)
			d.run("sync")
			if after, err := os.ReadFile(d.image); err != nil || string(after) != string(before) {
				t.Errorf("the volume was written to (%v)", err)
			}
		})
	}
}

// What somebody has open is waited for, and in the end taken away.
func TestUnstageInUse(t *testing.T) {
	d := newDisk(t)
	must(t, d.stage(Request{}))
	f, err := os.Create(filepath.Join(d.s.path("data"), "file"))
	must(t, err)
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, d.s.Unstage(ctx, "data"))
	d.mounted(false)
}

// Two volumes do not share a folder.
func TestFolderTaken(t *testing.T) {
	d := newDisk(t)
	must(t, os.MkdirAll(d.s.path("data"), 0o755))
	must(t, unix.Mount("none", d.s.path("data"), "tmpfs", 0, ""))
	wants(t, d.stage(Request{}), "is mounted at "+d.s.path("data")+" already")
}

func TestBadRequests(t *testing.T) {
	s := Stager{Folder: t.TempDir(), Log: zap.NewNop()}
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Name: "data"}, "VolumeID is empty"},
		{Request{VolumeID: volume}, `Name is ""`},
		{Request{VolumeID: volume, Name: "../x"}, `Name is "../x"`},
		{Request{VolumeID: volume, Name: "data", FileSystem: "ntfs"}, `FileSystem is "ntfs": want ext2, ext3, ext4, xfs`},
		{Request{VolumeID: volume, Name: "data", Group: -1}, "Group is -1"},
	} {
		wants(t, s.Stage(t.Context(), c.r), c.want)
	}
	wants(t, s.Unstage(t.Context(), ".."), `Name is ".."`)
	must(t, s.Unstage(t.Context(), "none"))
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	if _, err := deviceNumber(file); err == nil {
		t.Error("a file is taken for a device")
	}
}
