package disks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	loopControl = "/dev/loop-control"
	imageEnd    = ".img"
	keptFolder  = "kept"
	// freeTries is how often a free loop device is asked for: others take them too.
	freeTries = 16
)

// Disks are the volumes of a folder. Its methods are to be called one at a time.
type Disks struct{ dir string }

// Open takes a folder, which is made if it is not there. The error says what this machine
// lacks.
func Open(dir string) (*Disks, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("folder of volumes: %w", err)
	}
	for _, sub := range []string{"sys/block", keptFolder} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(sub)), 0o755); err != nil {
			return nil, fmt.Errorf("folder of volumes: %w", err)
		}
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil { // the kernel tells paths without links
		return nil, fmt.Errorf("folder of volumes: %w", err)
	}
	control, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("EBS volumes need loop devices: %w", err)
	}
	return &Disks{dir: dir}, control.Close()
}

func (d *Disks) image(volume string) string { return filepath.Join(d.dir, volume+imageEnd) }

func (d *Disks) disk(loop string) string { return filepath.Join(d.dir, "sys", "block", loop) }

// Attach has a volume appear as a disk; one that is not there is made, and blank. A disk that
// is there stays.
func (d *Disks) Attach(volume string, gib int) error {
	if d.device(volume) != "" {
		return nil
	}
	image, err := os.OpenFile(d.image(volume), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("make volume: %w", err)
	}
	defer image.Close()
	if info, err := image.Stat(); err != nil {
		return fmt.Errorf("make volume: %w", err)
	} else if size := int64(gib) << 30; info.Size() < size {
		if err := image.Truncate(size); err != nil {
			return fmt.Errorf("make volume of %d GiB: %w", gib, err)
		}
	}
	loop, err := attach(image)
	if err != nil {
		return fmt.Errorf("attach volume %s: %w", volume, err)
	}
	if err := os.MkdirAll(d.disk(loop), 0o755); err == nil {
		err = os.WriteFile(filepath.Join(d.disk(loop), "serial"), []byte(serial(volume)+"\n"), 0o600)
		if err == nil {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("show volume %s: %w", volume, err), release(loop))
}

// attach puts a file behind a free loop device and returns the device's name.
func attach(image *os.File) (loop string, err error) {
	control, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	for range freeTries {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("find a free loop device: %w", err)
		}
		loop = "loop" + strconv.Itoa(number)
		device, err := os.OpenFile(filepath.Join("/dev", loop), os.O_RDWR, 0)
		if err != nil {
			return "", err
		}
		err = unix.IoctlSetInt(int(device.Fd()), unix.LOOP_SET_FD, int(image.Fd()))
		if err == nil {
			var status unix.LoopInfo64
			copy(status.File_name[:len(status.File_name)-1], image.Name())
			_ = unix.IoctlLoopSetStatus64(int(device.Fd()), &status) // for losetup's list alone
			return loop, device.Close()
		}
		_ = device.Close()
		if !errors.Is(err, unix.EBUSY) {
			return "", fmt.Errorf("set up %s: %w", loop, err)
		}
	}
	return "", errors.New("every loop device is taken by others at once")
}

// release takes the file from a loop device. While that is mounted, the kernel waits with it.
func release(loop string) error {
	device, err := os.OpenFile(filepath.Join("/dev", loop), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer device.Close()
	if err := unix.IoctlSetInt(int(device.Fd()), unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("free %s: %w", loop, err)
	}
	return nil
}

// serial is the number that EBS gives a disk.
func serial(volume string) string { return strings.ReplaceAll(volume, "-", "") }

// device is the name of the loop device that has a volume; empty: none.
func (d *Disks) device(volume string) string {
	disks, _ := filepath.Glob(filepath.Join(d.disk("loop*"), "serial")) // the pattern is a good one
	for _, name := range disks {
		text, err := os.ReadFile(name)
		if err != nil || strings.TrimSpace(string(text)) != serial(volume) {
			continue
		}
		loop := filepath.Base(filepath.Dir(name))
		behind, err := os.ReadFile(filepath.Join("/sys/block", loop, "loop", "backing_file"))
		if err == nil && strings.TrimSuffix(string(behind), "\n") == d.image(volume) {
			return loop
		}
		_ = os.RemoveAll(filepath.Dir(name)) // the machine was started anew, or somebody else has the device
	}
	return ""
}

// Detach has the disk of a volume disappear. The volume goes too, unless it is to be kept.
func (d *Disks) Detach(volume string, keep bool) error {
	if loop := d.device(volume); loop != "" {
		if err := errors.Join(os.RemoveAll(d.disk(loop)), release(loop)); err != nil {
			return fmt.Errorf("detach volume %s: %w", volume, err)
		}
	}
	var err error
	if keep {
		err = os.Rename(d.image(volume), filepath.Join(d.dir, keptFolder, volume+imageEnd))
	} else {
		err = os.Remove(d.image(volume))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove volume %s: %w", volume, err)
	}
	return nil
}

// Keep detaches and removes the volumes that are not among those.
func (d *Disks) Keep(volumes []string) error {
	images, _ := filepath.Glob(filepath.Join(d.dir, "vol-*"+imageEnd)) // as above
	var failed []error
	for _, image := range images {
		if volume := strings.TrimSuffix(filepath.Base(image), imageEnd); !slices.Contains(volumes, volume) {
			failed = append(failed, d.Detach(volume, false))
		}
	}
	return errors.Join(failed...)
}
