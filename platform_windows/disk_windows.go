package windows

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// DiskUsed tells how much of the disk that holds a directory is in use, from 0 to 100.
func DiskUsed(dir string) (float64, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, fmt.Errorf("find the free space of %q: %w", dir, err)
	}
	var available, total, free uint64
	if err := windows.GetDiskFreeSpaceEx(path, &available, &total, &free); err != nil {
		return 0, fmt.Errorf("find the free space of %s: %w", dir, err)
	}
	if total == 0 {
		return 0, fmt.Errorf("find the free space of %s: the disk has no size", dir)
	}
	return 100 * float64(total-free) / float64(total), nil
}
