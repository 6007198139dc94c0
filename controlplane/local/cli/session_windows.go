package cli

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// ownSession keeps a detached server from getting the console's signals.
func ownSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.DETACHED_PROCESS}
}
