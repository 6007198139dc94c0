package app

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/windows"

	"ecsagent/agent/doctor"
)

// diskUsage is how full the volume of a directory is, and which one that is.
func diskUsage(directory string) (u doctor.Usage, device string, err error) {
	name, err := windows.UTF16PtrFromString(directory)
	if err == nil {
		err = windows.GetDiskFreeSpaceEx(name, &u.Free, &u.Total, nil)
	}
	if err != nil {
		return doctor.Usage{}, "", fmt.Errorf("volume of %s: %w", directory, err)
	}
	return u, filepath.VolumeName(directory), nil
}
