package tasknet

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// endWhole keeps a plugin from a console, which a service has none of to share: what makes
// one would hold the plugin's output open.
func endWhole(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS}
}
