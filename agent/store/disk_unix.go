//go:build unix

package store

import (
	"errors"
	"syscall"
)

// isDiskError reports whether the file system refuses to be written to.
func isDiskError(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EFBIG} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
