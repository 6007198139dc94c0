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
// the start needed is not this process's any more. A mapping that differs from the file
// anywhere, by a loader's relocations or a debugger, is left alone: unmapped, it would
// come back as the file has it.
func ReleaseProgram() error {
	info, err := os.Stat("/proc/self/exe")
	if err != nil {
		return err
	}
	file, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the program's file has no number")
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	for _, m := range programPages(string(maps), file.Ino) {
		if _, _, failed := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); failed != 0 {
			return fmt.Errorf("give back the program's pages %x-%x: %w", m.from, m.to, failed)
		}
	}
	return nil
}

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// programPages reads /proc/PID/smaps: the mappings of the file with that number that
// cannot be written to and are as the file is.
func programPages(smaps string, inode uint64) (pages []mapping) {
	var m mapping
	mine := false
	for line := range strings.Lines(smaps) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if !strings.HasSuffix(fields[0], ":") {
			m, mine = readMapping(fields, inode)
			continue
		}
		// The line comes once for each mapping, where the kernel tells it at all.
		if mine && fields[0] == "Anonymous:" && len(fields) > 1 && fields[1] == "0" {
			pages = append(pages, m)
		}
	}
	return pages
}

// readMapping reads the first line of a mapping.
func readMapping(fields []string, inode uint64) (m mapping, ok bool) {
	const used = 6 // addresses, rights, offset, device, inode, path
	if len(fields) < used || fields[4] != strconv.FormatUint(inode, 10) || !strings.HasPrefix(fields[1], "r-") {
		return m, false
	}
	first, last, _ := strings.Cut(fields[0], "-")
	begin, err := strconv.ParseUint(first, 16, 64)
	if err != nil {
		return m, false
	}
	end, err := strconv.ParseUint(last, 16, 64)
	if err != nil || end <= begin {
		return m, false
	}
	return mapping{uintptr(begin), uintptr(end)}, true
}
