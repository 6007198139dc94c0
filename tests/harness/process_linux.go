package harness

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

const terminate = syscall.SIGTERM

// starter starts processes on a thread that lives as long as this process: the kernel
// kills the child when the thread that started it ends, and threads that have been in
// another network namespace end.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread() // for good
		for do := range work {
			do()
		}
	}()
	return work
})

// start starts a child that the kernel kills when this process dies, and that the
// terminal's Ctrl-C does not reach.
func start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	return <-started
}
