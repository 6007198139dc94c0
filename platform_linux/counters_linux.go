package linux

import (
	"encoding/binary"
	"fmt"
	"iter"
	"os"
	goruntime "runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"ecsagent/agent/stats/kernel"
)

// counterFile is a file of the kernel's that Go's poller does not know of: such files
// never block, and there may be thousands.
type counterFile int

// OpenCounter opens a file of the cgroup or proc file system for repeated reading.
func OpenCounter(name string) (kernel.File, error) {
	for {
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			return counterFile(fd), nil
		}
		if err != unix.EINTR { //nolint:errorlint // a system call returns the plain number
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// ReadAt implements kernel.File. At the end it returns 0 and no error.
func (f counterFile) ReadAt(p []byte, off int64) (int, error) {
	for {
		n, err := unix.Pread(int(f), p, off)
		if err != unix.EINTR { //nolint:errorlint // a system call returns the plain number
			return max(n, 0), err
		}
	}
}

// Close implements kernel.File.
func (f counterFile) Close() error { return unix.Close(int(f)) }

// Devices names the interfaces in the network namespace of a process that are
// hardware or VLANs, in the kernel's order; loopback is not among them
// (docs/spec/04 section 8.6).
func Devices(pid int) ([]string, error) {
	target, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	defer target.Close()
	table, err := inNamespace(int(target.Fd()), func() ([]byte, error) {
		return syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	})
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	return devicesOf(table)
}

// inNamespace runs fn in a network namespace, on a thread that ends with it: should
// the way back fail, nobody else runs there.
func inNamespace(fd int, fn func() ([]byte, error)) (out []byte, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		goruntime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err = unix.Setns(fd, unix.CLONE_NEWNET); err == nil {
			out, err = fn()
		}
	}()
	<-done
	return out, err
}

// devicesOf reads a list of interfaces as netlink gives it. Hardware has no kind.
func devicesOf(table []byte) ([]string, error) {
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return nil, fmt.Errorf("parse interfaces: %w", err)
	}
	var names []string
	for i := range messages {
		if messages[i].Header.Type != unix.RTM_NEWLINK {
			continue
		}
		if len(messages[i].Data) < unix.SizeofIfInfomsg {
			return nil, fmt.Errorf("parse interface: a message of %d bytes, want at least %d", len(messages[i].Data), unix.SizeofIfInfomsg)
		}
		var name, kind string
		for attribute, value := range netlinkAttributes(messages[i].Data[unix.SizeofIfInfomsg:]) {
			switch attribute {
			case unix.IFLA_IFNAME:
				name = strings.TrimRight(string(value), "\x00")
			case unix.IFLA_LINKINFO:
				kind = linkKind(value)
			}
		}
		if name != "" && name != "lo" && (kind == "" || kind == "vlan") {
			names = append(names, name)
		}
	}
	return names, nil
}

// linkKind finds the kind among the nested attributes of an interface.
func linkKind(nested []byte) string {
	for kind, value := range netlinkAttributes(nested) {
		if kind == unix.IFLA_INFO_KIND {
			return strings.TrimRight(string(value), "\x00")
		}
	}
	return ""
}

// netlinkAttributes walks through attributes up to the first that is damaged. The
// parser of the standard library panics when the last one is not padded.
func netlinkAttributes(data []byte) iter.Seq2[uint16, []byte] {
	const header = unix.SizeofRtAttr
	return func(yield func(uint16, []byte) bool) {
		for len(data) >= header {
			size := int(binary.NativeEndian.Uint16(data))
			kind := binary.NativeEndian.Uint16(data[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if size < header || size > len(data) || !yield(kind, data[header:size]) {
				return
			}
			data = data[min(len(data), (size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
		}
	}
}

// MemoryBytes is the host's memory; 0 when it cannot be found out.
func MemoryBytes() uint64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // 32 bits on some machines
}
