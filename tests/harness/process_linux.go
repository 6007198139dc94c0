package harness

import (
	"os/exec"
	"syscall"
)

const terminate = syscall.SIGTERM

// bind makes the kernel kill the child when this process dies, and keeps the
// terminal's Ctrl-C from it.
func bind(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
