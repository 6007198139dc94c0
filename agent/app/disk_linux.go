package app

import (
	"fmt"

	"golang.org/x/sys/unix"

	"ecsagent/agent/doctor"
)

// diskUsage is how full the file system of a directory is, and which one that is.
func diskUsage(directory string) (u doctor.Usage, device string, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(directory, &s); err != nil {
		return u, "", fmt.Errorf("file system of %s: %w", directory, err)
	}
	size := uint64(s.Frsize)
	if size == 0 {
		size = uint64(s.Bsize)
	}
	return doctor.Usage{
		Free: s.Bavail * size, Total: s.Blocks * size, FreeFiles: s.Ffree, TotalFiles: s.Files,
	}, fmt.Sprint(s.Fsid.Val), nil
}
