package linux

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCounterFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "counter")
	if err := os.WriteFile(name, []byte("42\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenCounter(name)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	for range 2 {
		if n, err := f.ReadAt(buf, 0); err != nil || string(buf[:n]) != "42\n" {
			t.Errorf("read %q, %v", buf[:n], err)
		}
	}
	if n, err := f.ReadAt(buf, 3); n != 0 || err != nil {
		t.Errorf("read %d bytes at the end, %v", n, err)
	}
	if err := os.WriteFile(name, []byte("43\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := f.ReadAt(buf, 0); err != nil || string(buf[:n]) != "43\n" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := OpenCounter(name + "x"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), name) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// attribute is one of netlink's.
func attribute(kind uint16, value []byte) []byte {
	out := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	out = binary.NativeEndian.AppendUint16(out, kind)
	out = append(out, value...)
	return append(out, make([]byte, (4-len(out)%4)%4)...)
}

// linkMessage is an interface as the kernel tells of it; hardware has no kind.
func linkMessage(name, kind string) []byte {
	body := append(make([]byte, unix.SizeofIfInfomsg), attribute(unix.IFLA_IFNAME, append([]byte(name), 0))...)
	if kind != "" {
		info := append(attribute(unix.IFLA_INFO_XSTATS, []byte{1}), attribute(unix.IFLA_INFO_KIND, append([]byte(kind), 0))...)
		body = append(body, attribute(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, info)...)
	}
	out := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	out = binary.NativeEndian.AppendUint16(out, unix.RTM_NEWLINK)
	return append(append(out, make([]byte, 10)...), body...)
}

// The interfaces that a task was given are hardware or VLANs (docs/spec/04 section 8.6).
func TestDevicesOf(t *testing.T) {
	table := slices.Concat(linkMessage("lo", ""), linkMessage("eth1", ""), linkMessage("ecs-eth0", "veth"), linkMessage("eth1.7", "vlan"), linkMessage("d", "dummy"), linkMessage("eth2", ""))
	got, err := devicesOf(table)
	if want := []string{"eth1", "eth1.7", "eth2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func FuzzDevicesOf(f *testing.F) {
	f.Add(linkMessage("eth0", "vlan"))
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, table []byte) {
		_, _ = devicesOf(table)
		_ = linkKind(table)
	})
}

// In a namespace of our own there is loopback alone, and what the kernel does not
// count as hardware.
func TestDevicesOfNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "-n", "sh", "-c", "ip link add v0 type veth peer name v1 && echo ready && exec cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no namespace: %v", err)
	}
	defer func() {
		_ = in.Close()
		_ = cmd.Wait()
	}()
	line := make([]byte, 16)
	if n, err := out.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "ready") {
		t.Skipf("no namespace with a pair of interfaces: %q, %v", line[:n], err)
	}
	got, err := Devices(cmd.Process.Pid)
	if err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Devices(1 << 22); err == nil {
		t.Error("a process that is not there has interfaces")
	}
}

func TestMemoryBytes(t *testing.T) {
	if n := MemoryBytes(); n < 1<<26 {
		t.Errorf("%d bytes", n)
	}
}
