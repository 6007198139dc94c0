package linux

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ReleaseProgram unmaps the pages of the program's own file that were used so far: its
// code and constants. What is used again is mapped again, out of the page cache; what only
// the start needed is not this process's any more.
func ReleaseProgram() error {
	info, err := os.Stat("/proc/self/exe")
	if err != nil {
		return err
	}
	file, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the program's file has no number")
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(maps)) {
		from, to, ok := programPages(line, file.Ino)
		if !ok {
			continue
		}
		if _, _, failed := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); failed != 0 {
			return fmt.Errorf("give back the program's pages %x-%x: %w", from, to, failed)
		}
	}
	return nil
}

// programPages reads a line of /proc/PID/maps: the range of a mapping of the file with
// that number that cannot be written to, whose pages are therefore those of the file.
func programPages(line string, inode uint64) (from, to uintptr, ok bool) {
	fields := strings.Fields(line)
	const used = 6 // addresses, rights, offset, device, inode, path
	if len(fields) < used || fields[4] != strconv.FormatUint(inode, 10) || !strings.HasPrefix(fields[1], "r-") {
		return 0, 0, false
	}
	first, last, _ := strings.Cut(fields[0], "-")
	begin, err := strconv.ParseUint(first, 16, 64)
	if err != nil {
		return 0, 0, false
	}
	end, err := strconv.ParseUint(last, 16, 64)
	if err != nil || end <= begin {
		return 0, 0, false
	}
	return uintptr(begin), uintptr(end), true
}
