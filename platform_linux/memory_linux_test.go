package linux

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inMemory makes a folder on tmpfs.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ecsagent-")
	if err != nil {
		t.Skipf("no tmpfs at /dev/shm: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestMemoryFile(t *testing.T) {
	dir := filepath.Join(inMemory(t), "sub")
	m, err := OpenMemoryFile(dir, "keys")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := m.Load(); data != nil || err != nil {
		t.Errorf("nothing was saved: %q, %v", data, err)
	}
	for _, text := range []string{"one", "two, longer", ""} {
		if err := m.Save([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if data, err := m.Load(); string(data) != text || err != nil {
			t.Errorf("loaded %q, %v; want %q", data, err, text)
		}
	}
	info, err := os.Stat(m.String())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("files left: %v", files)
	}
	if err := os.Chmod(m.String(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Load(); err == nil || !strings.Contains(err.Error(), "want a file of mode 600") {
		t.Errorf("a file that all may read is trusted: %v", err)
	}
	_ = os.Remove(m.String())
	if err := os.Symlink("/etc/passwd", m.String()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Load(); err == nil {
		t.Error("a link is followed")
	}
}

func TestMemoryFileWantsMemory(t *testing.T) {
	var st unix.Statfs_t
	dir := t.TempDir()
	if err := unix.Statfs(dir, &st); err != nil || st.Type == unix.TMPFS_MAGIC {
		t.Skip("the folder for temporary files is in memory")
	}
	if _, err := OpenMemoryFile(dir, "keys"); err == nil || !strings.Contains(err.Error(), "want tmpfs") {
		t.Errorf("a folder on disk is taken: %v", err)
	}
	open := inMemory(t)
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenMemoryFile(open, "keys"); err == nil || !strings.Contains(err.Error(), "only its owner can change") {
		t.Errorf("a folder that all can change is taken: %v", err)
	}
}

// manager is a service manager's socket that keeps what it is given.
func manager(t *testing.T) (socket string, receive func() (name string, f *os.File)) {
	t.Helper()
	socket = filepath.Join(inMemory(t), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return socket, func() (string, *os.File) {
		text, oob := make([]byte, 1024), make([]byte, 1024)
		n, oobn, _, _, err := c.ReadMsgUnix(text, oob)
		if err != nil {
			t.Fatal(err)
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(messages) != 1 {
			t.Fatalf("%d control messages, %v", len(messages), err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(fds) != 1 {
			t.Fatalf("%d descriptors, %v", len(fds), err)
		}
		name, ok := strings.CutPrefix(string(text[:n]), "FDSTORE=1\nFDNAME=")
		if !ok {
			t.Fatalf("message %q", text[:n])
		}
		return name, os.NewFile(uintptr(fds[0]), name)
	}
}

func TestDescriptorStore(t *testing.T) {
	socket, receive := manager(t)
	s, err := OpenDescriptorStore(socket, "keys", nil)
	if err != nil {
		t.Fatal(err)
	}
	kept := make(map[string]*os.File)
	for range 2 {
		name, f := receive()
		kept[name] = f
	}
	if kept["keys-0"] == nil || kept["keys-1"] == nil {
		t.Fatalf("handed over: %v", kept)
	}
	// again starts as the service manager would start the agent anew.
	again := func() *DescriptorStore {
		given := make(map[string]*os.File)
		for name, f := range kept {
			fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			given[name] = os.NewFile(uintptr(fd), name)
		}
		s, err := OpenDescriptorStore(socket, "keys", given)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if data, err := s.Load(); data != nil || err != nil {
		t.Errorf("nothing was saved: %q, %v", data, err)
	}
	for i := range 5 {
		text := strings.Repeat(fmt.Sprint(i), 5-i)
		if err := s.Save([]byte(text)); err != nil {
			t.Fatal(err)
		}
		s.Close()
		s = again()
		if data, err := s.Load(); string(data) != text || err != nil {
			t.Errorf("loaded %q, %v; want %q", data, err, text)
		}
	}
	// A write that was cut off leaves what was saved before.
	if err := s.files[(s.seq+1)%2].Truncate(3); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = again()
	defer s.Close()
	if data, err := s.Load(); string(data) != "4" || err != nil {
		t.Errorf("after a write that was cut off: %q, %v", data, err)
	}
	for _, f := range kept {
		_ = f.Close()
	}
}

// TestInherited runs itself as a child with descriptors passed.
func TestInherited(t *testing.T) {
	if os.Getenv("ECSAGENT_TEST_CHILD") != "" {
		for name, f := range Inherited(os.Getenv, os.Getpid()) {
			data := make([]byte, 10)
			n, _ := f.ReadAt(data, 0)
			fmt.Printf("[%s=%s]\n", name, data[:n])
		}
		return
	}
	var files []*os.File
	for _, text := range []string{"one", "two", "three"} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	for _, c := range []struct {
		script string
		want   []string
	}{
		{`export LISTEN_PID=$$; exec "$@"`, []string{"[a=one]", "[b=two]", "[unknown=three]"}},
		{`export LISTEN_PID=1; exec "$@"`, nil},
		{`export LISTEN_PID=; exec "$@"`, nil},
		{`export LISTEN_PID=$$ LISTEN_FDS=-1; exec "$@"`, nil},
	} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", c.script, "sh", os.Args[0], "-test.run=^TestInherited$")
		cmd.ExtraFiles = files
		cmd.Env = append(os.Environ(), "ECSAGENT_TEST_CHILD=1", "LISTEN_FDS=3", "LISTEN_FDNAMES=a:b:")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: %s lacks %s", c.script, out, want)
			}
		}
		if len(c.want) == 0 && strings.Contains(string(out), "=one]") {
			t.Errorf("%s: descriptors of another process are taken: %s", c.script, out)
		}
	}
}
