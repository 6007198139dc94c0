package store

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isDiskError reports whether the file system refuses to be written to.
func isDiskError(err error) bool {
	for _, e := range []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_WRITE_PROTECT, windows.ERROR_IO_DEVICE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
