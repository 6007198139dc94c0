package plugin

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"ecsagent/controlplane/session"
)

// terminal is where input comes from, if it is one.
type terminal struct{ file *os.File }

func openTerminal(f *os.File) *terminal { return &terminal{f} }

func (t *terminal) control(fn func(fd int) error) error {
	raw, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = fn(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// raw has the terminal pass on each key as it is; restore undoes that.
func (t *terminal) raw() (restore func(), err error) {
	var before unix.Termios
	err = t.control(func(fd int) error {
		now, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		before = *now
		now.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		now.Oflag &^= unix.OPOST // the container's terminal has done that
		now.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
		return unix.IoctlSetTermios(fd, unix.TCSETS, now)
	})
	if err != nil {
		return nil, err
	}
	return func() {
		_ = t.control(func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS, &before) }) // it may have gone
	}, nil
}

// size is that of the terminal; ok is false where there is none.
func (t *terminal) size() (s session.Size, ok bool) {
	err := t.control(func(fd int) error {
		w, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		if err == nil {
			s = session.Size{Cols: uint32(w.Col), Rows: uint32(w.Row)}
		}
		return err
	})
	return s, err == nil && s.Cols > 0 && s.Rows > 0
}

// changes tells when the size may have changed.
func (t *terminal) changes() (<-chan os.Signal, func()) { return notify(syscall.SIGWINCH) }

// signals are those that keys of a terminal make.
func (t *terminal) signals() (<-chan os.Signal, func()) {
	return notify(syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP)
}

func notify(signals ...os.Signal) (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 8)
	signal.Notify(c, signals...)
	return c, func() { signal.Stop(c) }
}

// keyOf is the key that makes a signal.
func keyOf(s os.Signal) byte {
	switch s {
	case syscall.SIGQUIT:
		return 28
	case syscall.SIGTSTP:
		return 26
	}
	return 3
}
