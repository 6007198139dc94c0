package volumeplugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// killGrace is what a program gets to end that was killed.
	killGrace = 5 * time.Second
	// maxComplaint is how much is shown of what a helper says, in bytes, from its end.
	maxComplaint = 2048
	// maxStack is how many file systems are taken from one path.
	maxStack = 64
)

// System mounts with the programs of the host.
type System struct {
	// Program is called as mount(8) is; empty: mount.
	Program string
}

// Mount runs mount, which runs the helper of the type. When ctx ends it is killed with
// all that it started and that did not make itself independent, as tunnels do.
func (s System) Mount(ctx context.Context, kind, options, device, path string) error {
	var args []string
	if kind != "" {
		args = append(args, "-t", kind)
	}
	if options != "" {
		args = append(args, "-o", options)
	}
	program := s.Program
	if program == "" {
		program = "mount"
	}
	// No pipe: a tunnel that goes on would hold it open.
	said, err := memory("mount-output")
	if err != nil {
		return err
	}
	defer said.Close()
	cmd := exec.Command(program, append(args, device, path)...) // on purpose: ctx kills the whole group
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	kill := context.AfterFunc(ctx, func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	err = cmd.Wait()
	kill()
	if ctx.Err() != nil && err != nil {
		return fmt.Errorf("%s did not end in time and was killed%s", program, complaint(said))
	}
	if err != nil {
		return fmt.Errorf("%s: %w%s%s", program, err, complaint(said), hint(kind))
	}
	return nil
}

func memory(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// complaint is the end of what a program said, on one line.
func complaint(said *os.File) string {
	info, err := said.Stat()
	if err != nil {
		return ""
	}
	text, err := io.ReadAll(io.NewSectionReader(said, max(0, info.Size()-maxComplaint), maxComplaint))
	words := strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "?")), " ")
	if err != nil || words == "" {
		return ""
	}
	return ": " + words
}

// hint is what a host lacks that has no helper.
func hint(kind string) string {
	if kind == "" {
		return ""
	}
	for _, dir := range []string{"/sbin", "/usr/sbin", "/sbin/fs", "/usr/local/sbin"} {
		if _, err := os.Stat(dir + "/mount." + kind); err == nil {
			return ""
		}
	}
	return " (there is no mount." + kind + " on this host: install amazon-efs-utils)"
}

// Unmount needs neither the network nor the file system's server: in awsvpc mode the
// network has gone before.
func (System) Unmount(path string) error {
	for range maxStack {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // nothing is mounted
			return nil
		case err != nil:
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	return fmt.Errorf("unmount %s: more than %d file systems are mounted there", path, maxStack)
}

// Points reads the kernel's table; no file system is asked.
func (System) Points() (map[string]bool, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read what is mounted: %w", err)
	}
	defer f.Close()
	points, err := mountPoints(f)
	if err != nil {
		return nil, fmt.Errorf("read what is mounted: %w", err)
	}
	return points, nil
}

// mountPoints are the fifth fields of the lines.
func mountPoints(r io.Reader) (map[string]bool, error) {
	points := make(map[string]bool)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 {
			points[unescape(fields[4])] = true
		}
	}
	return points, lines.Err()
}

// unescape turns \040 and the like into the characters that they stand for.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
