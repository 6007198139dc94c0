package tasknet

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// runWhole runs a plugin. The end of its context ends it with all that it has started:
// otherwise these go on and change the network of a task that is long gone.
func runWhole(c *exec.Cmd) error {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error {
		if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
	return c.Run()
}
