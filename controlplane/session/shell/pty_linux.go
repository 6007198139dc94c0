package shell

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"ecsagent/controlplane/session"
)

// start runs a program with a terminal of its own, and returns the terminal's other end.
func start(argv []string) (*exec.Cmd, *os.File, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a terminal: %w", err)
	}
	cmd, err := startOn(master, argv)
	if err != nil {
		_ = master.Close()
		return nil, nil, err
	}
	return cmd, master, nil
}

func startOn(master *os.File, argv []string) (*exec.Cmd, error) {
	var number int
	var failed error
	err := control(master, func(fd int) {
		if failed = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); failed == nil {
			number, failed = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	defer slave.Close()
	cmd := exec.Command(argv[0], argv[1:]...) // without a context on purpose: it hears that its terminal has gone first
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.Env = append(os.Environ(), "TERM=xterm-256color")
	cmd.Dir = workingDirectory()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the command: %w", err)
	}
	return cmd, nil
}

// workingDirectory is where the container's own process began, as near as can be told.
func workingDirectory() string {
	if dir, err := os.Readlink("/proc/1/cwd"); err == nil {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return "/"
}

// resize tells the terminal its size.
func resize(master *os.File, s session.Size) {
	size := &unix.Winsize{Row: uint16(min(s.Rows, 1<<16-1)), Col: uint16(min(s.Cols, 1<<16-1))}
	_ = control(master, func(fd int) { _ = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) }) // the program may have ended
}

// control calls fn with the file's descriptor, which stays one that waits for nothing.
func control(f *os.File, fn func(fd int)) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { fn(int(fd)) })
}

// kill ends the program and what it started, should they not have ended with their
// terminal.
func kill(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
