package staging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// ErrNoDevice is returned while the instance does not show the volume.
var ErrNoDevice = errors.New("no such volume is attached to this instance")

// Host is where devices are looked for.
type Host struct {
	// Sys is the kernel's picture of the devices; empty: /sys.
	Sys string
	// Dev is the folder of the devices; empty: /dev.
	Dev string
}

func (h Host) sys() string {
	if h.Sys == "" {
		return "/sys"
	}
	return h.Sys
}

func (h Host) dev() string {
	if h.Dev == "" {
		return "/dev"
	}
	return h.Dev
}

// find returns the device of a volume: the one whose serial number is the volume's id
// without its hyphen. Where the host gives disks no serial numbers, as Xen does, it is the
// one with the name that ECS tells.
func (h Host) find(volume, told string) (string, error) {
	serial := strings.ReplaceAll(strings.ToLower(volume), "-", "")
	disks, err := os.ReadDir(filepath.Join(h.sys(), "block"))
	if err != nil {
		return "", fmt.Errorf("list the disks: %w", err)
	}
	for _, d := range disks {
		if s := h.serial(d.Name()); s == serial {
			return filepath.Join(h.dev(), d.Name()), nil
		}
	}
	for _, name := range xenNames(told) {
		if _, err := os.Stat(filepath.Join(h.sys(), "block", name)); err == nil && h.serial(name) == "" {
			return filepath.Join(h.dev(), name), nil
		}
	}
	return "", fmt.Errorf("volume %s: %w", volume, ErrNoDevice)
}

// serial is a disk's, in lower case; empty where it has none.
func (h Host) serial(disk string) string {
	for _, at := range []string{"device/serial", "serial"} { // NVMe; virtio and others
		text, err := os.ReadFile(filepath.Join(h.sys(), "block", disk, filepath.FromSlash(at)))
		if err == nil {
			return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(string(text))), "-", "")
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "?" // one that cannot be read is not one without a number
		}
	}
	return ""
}

// xenNames are the names that Linux on Xen gives to a disk that was attached under a name.
func xenNames(told string) []string {
	name := path.Base(told)
	rest, ok := strings.CutPrefix(name, "sd")
	switch {
	case ok && rest != "":
		return []string{"xvd" + rest}
	case strings.HasPrefix(name, "xvd"):
		return []string{name}
	}
	return nil
}
