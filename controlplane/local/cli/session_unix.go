//go:build !windows

package cli

import "syscall"

// ownSession keeps a detached server from getting the terminal's signals.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
