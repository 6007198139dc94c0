package staging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	// Folder is where the volumes of tasks are mounted.
	Folder = "/mnt/ecs/ebs"
	// defaultType is what a blank volume is formatted with when nobody says.
	defaultType = "ext4"
	// blank is how much of a volume must be zero for it to count as blank, in bytes.
	blank = 1 << 20
	// busyPause and busyLimit are for a volume that somebody still has open.
	busyPause = 200 * time.Millisecond
	busyLimit = 20 * time.Second
	// formatLimit is for the largest volumes.
	formatLimit = 10 * time.Minute
)

// kinds are the file systems that a volume can have here.
var kinds = []string{"ext2", "ext3", "ext4", "xfs"}

// validName is one element of a path.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// Request asks for a volume to be mounted.
type Request struct {
	VolumeID string // such as vol-0123456789abcdef0
	Device   string // as ECS tells; counts where disks have no serial numbers
	// Name is of the folder below Folder.
	Name       string
	FileSystem string // to make on a blank volume, and to insist on; empty: ext4, and any
	Group      int    // whose the root of the file system becomes; 0: as it is
}

// Stager mounts volumes.
type Stager struct {
	Host   Host
	Folder string // empty: Folder
	Log    *zap.Logger
}

func (s Stager) path(name string) string {
	if s.Folder == "" {
		return filepath.Join(Folder, name)
	}
	return filepath.Join(s.Folder, name)
}

func (r *Request) check() error {
	switch {
	case r.VolumeID == "":
		return errors.New("VolumeID is empty: want the id of a volume")
	case !validName.MatchString(r.Name):
		return fmt.Errorf("Name is %q: want letters, digits, _, . and -, a letter or digit first", r.Name)
	case r.FileSystem != "" && !slices.Contains(kinds, r.FileSystem):
		return fmt.Errorf("FileSystem is %q: want %s", r.FileSystem, strings.Join(kinds, ", "))
	case r.Group < 0:
		return fmt.Errorf("Group is %d: want the number of a group", r.Group)
	}
	return nil
}

// Stage mounts a volume. One that is mounted already stays.
func (s Stager) Stage(ctx context.Context, r Request) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("stage volume: %w", err)
	}
	device, err := s.Host.find(r.VolumeID, r.Device)
	if err != nil {
		return err
	}
	if err := s.stage(ctx, device, &r); err != nil {
		return fmt.Errorf("stage volume %s on %s: %w", r.VolumeID, device, err)
	}
	return nil
}

func (s Stager) stage(ctx context.Context, device string, r *Request) error {
	path := s.path(r.Name)
	on, err := mountedOn(path)
	if err != nil {
		return err
	}
	number, err := deviceNumber(device)
	if err != nil {
		return err
	}
	switch {
	case on == number:
		return share(path, r.Group)
	case on != "":
		return fmt.Errorf("device %s is mounted at %s already", on, path)
	}
	kind, err := s.format(ctx, device, r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	data := ""
	if kind == "xfs" {
		data = "nouuid" // a copy of another volume has its id
	}
	if err := unix.Mount(device, path, kind, 0, data); err != nil {
		return fmt.Errorf("mount the %s at %s: %w", kind, path, err)
	}
	s.grow(ctx, device, path, kind)
	if err := share(path, r.Group); err != nil {
		return err
	}
	s.Log.Info("volume staged", zap.String("volume", r.VolumeID), zap.String("device", device), zap.String("path", path))
	return nil
}

// format returns the kind of a volume's file system, which is made when it is blank. What
// is there and not known is somebody's data.
func (s Stager) format(ctx context.Context, device string, r *Request) (string, error) {
	kind, err := probe(ctx, device)
	switch {
	case err != nil:
		return "", err
	case kind != "" && !slices.Contains(kinds, kind):
		return "", fmt.Errorf("it holds %s: want a file system of type %s, or a blank volume", kind, strings.Join(kinds, ", "))
	case kind != "" && r.FileSystem != "" && kind != r.FileSystem:
		return "", fmt.Errorf("its file system is %s: want %s", kind, r.FileSystem)
	case kind != "":
		return kind, nil
	}
	if err := checkBlank(device); err != nil {
		return "", err
	}
	if kind = r.FileSystem; kind == "" {
		kind = defaultType
	}
	args := []string{device}
	if kind != "xfs" {
		args = []string{"-q", "-F", "-m0", device}
	}
	begun := time.Now()
	// One that is interrupted would leave neither a blank volume nor a file system.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), formatLimit)
	defer cancel()
	if _, err := output(whole, "mkfs."+kind, args...); err != nil {
		return "", fmt.Errorf("make a file system: %w", err)
	}
	s.Log.Info("blank volume formatted", zap.String("volume", r.VolumeID), zap.String("type", kind), zap.Duration("took", time.Since(begun)))
	return kind, nil
}

// nothingFound is blkid's exit code for a device on which it knows nothing.
const nothingFound = 2

// probe tells what is on a device; empty: nothing that is known.
func probe(ctx context.Context, device string) (string, error) {
	text, err := output(ctx, "blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", device)
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.ExitCode() == nothingFound {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look what is on it: %w", err)
	}
	table := ""
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "TYPE":
			return value, nil
		case "PTTYPE":
			table = "a partition table (" + value + ")"
		}
	}
	return table, nil
}

func checkBlank(device string) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	start, err := io.ReadAll(io.LimitReader(f, blank))
	if err != nil {
		return fmt.Errorf("read its beginning: %w", err)
	}
	if slices.ContainsFunc(start, func(b byte) bool { return b != 0 }) {
		return errors.New("it holds data of a kind that is not known, and is not formatted: want a file system, or a blank volume")
	}
	return nil
}

// grow lets the file system have the whole volume, which may have been made larger.
// Without that it works as well.
func (s Stager) grow(ctx context.Context, device, path, kind string) {
	program, at := "resize2fs", device
	if kind == "xfs" {
		program, at = "xfs_growfs", path
	}
	if _, err := output(ctx, program, at); err != nil {
		s.Log.Warn("file system not grown to the size of its volume", zap.String("device", device), zap.Error(err))
	}
}

// share gives the root of the file system to the group that its containers have.
func share(path string, group int) error {
	if group == 0 {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Gid) != group {
		if err := os.Lchown(path, -1, group); err != nil {
			return err
		}
	}
	want := info.Mode().Perm() | 0o770 | fs.ModeSetgid
	if info.Mode()&(fs.ModePerm|fs.ModeSetgid) == want {
		return nil
	}
	return os.Chmod(path, want)
}

// Usage is how full a volume is, in bytes.
type Usage struct{ Used, Size uint64 }

// Usage tells how full the volume is that is mounted under a name.
func (s Stager) Usage(name string) (Usage, error) {
	if !validName.MatchString(name) {
		return Usage{}, fmt.Errorf("usage of a volume: Name is %q: want letters, digits, _, . and -, a letter or digit first", name)
	}
	path := s.path(name)
	on, err := mountedOn(path)
	if err == nil && on == "" {
		err = errors.New("no volume is mounted there")
	}
	var st unix.Statfs_t
	if err == nil {
		err = unix.Statfs(path, &st)
	}
	if err != nil {
		return Usage{}, fmt.Errorf("usage of %s: %w", path, err)
	}
	block := uint64(st.Bsize)
	return Usage{Used: (st.Blocks - st.Bfree) * block, Size: st.Blocks * block}, nil
}

// Unstage unmounts what is mounted under a name, once nobody has it open; what is still
// open after a while is written out and taken away from under them. What is not mounted is
// done.
func (s Stager) Unstage(ctx context.Context, name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("unstage volume: Name is %q: want letters, digits, _, . and -, a letter or digit first", name)
	}
	path := s.path(name)
	if err := s.unmount(ctx, path); err != nil {
		return fmt.Errorf("unstage %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Log.Warn("folder of an unstaged volume kept", zap.String("path", path), zap.Error(err))
	}
	return nil
}

func (s Stager) unmount(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, busyLimit)
	defer cancel()
	for {
		err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return nil
		case err == nil:
			s.Log.Info("volume unstaged", zap.String("path", path))
			continue // until nothing is mounted there
		case !errors.Is(err, unix.EBUSY):
			return err
		}
		timer := time.NewTimer(busyPause)
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
			timer.Stop()
		}
		s.Log.Warn("volume is in use, and taken away all the same", zap.String("path", path))
		return errors.Join(flush(path), unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
	}
}

func flush(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// mountedOn is the number of the device that is mounted on a path, as in 7:0; empty: none.
func mountedOn(path string) (string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("read what is mounted: %w", err)
	}
	if folder, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(folder, filepath.Base(path))
	}
	on := ""
	for line := range strings.Lines(string(text)) {
		// Names have no characters that the kernel would escape.
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == path {
			on = fields[2] // the last one is on top
		}
	}
	return on, nil
}

func deviceNumber(device string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return "", fmt.Errorf("look at the device: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", errors.New("it is no block device")
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)), nil
}

// output runs a program of the host, in English, and returns what it printed.
func output(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = time.Second
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		if words := strings.Join(strings.Fields(said.String()), " "); words != "" {
			return "", fmt.Errorf("%s: %w: %s", program, err, words)
		}
		return "", fmt.Errorf("%s: %w", program, err)
	}
	return out.String(), nil
}
