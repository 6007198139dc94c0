package linux

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DiskUsed tells how much of the disk that holds a directory is in use, from 0 to 100,
// as df does: blocks that only root may use count neither as used nor as free.
func DiskUsed(dir string) (float64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("find the free space of %s: %w", dir, err)
	}
	used := float64(s.Blocks - s.Bfree)
	all := used + float64(s.Bavail)
	if all == 0 {
		return 0, fmt.Errorf("find the free space of %s: the file system has no size", dir)
	}
	return 100 * used / all, nil
}
