package tasknet

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// endWhole makes the end of the context end a plugin with all that it has started:
// otherwise these go on and change the network of a task that is long gone.
func endWhole(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error {
		if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
}
