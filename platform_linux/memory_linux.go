package linux

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// MemoryFile is a file on a file system that is in memory only.
type MemoryFile struct{ dir, path string }

// OpenMemoryFile makes sure that the folder is on such a file system, and makes it,
// for root alone, where it is missing. The file is not touched.
func OpenMemoryFile(dir, name string) (*MemoryFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder in memory: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil, fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	if t := st.Type; t != unix.TMPFS_MAGIC && t != unix.RAMFS_MAGIC {
		return nil, fmt.Errorf("%s is on a file system of type %#x: want tmpfs, which is in memory", dir, t)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", dir, err)
	}
	if !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s has mode %v: want a folder that only its owner can change", dir, info.Mode())
	}
	return &MemoryFile{dir: dir, path: filepath.Join(dir, name)}, nil
}

// String names the file.
func (m *MemoryFile) String() string { return m.path }

// Load returns the file's content; nil when there is no file. A file that others can
// read, or that is somebody else's, is not trusted.
func (m *MemoryFile) Load() ([]byte, error) {
	f, err := os.OpenFile(m.path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("look at %s: %w", m.path, err)
	}
	if st.Mode&0o077 != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%s has mode %o and owner %d: want a file of mode 600 and owner %d", m.path, st.Mode, st.Uid, os.Geteuid())
	}
	return io.ReadAll(f)
}

// Save replaces the file's content as a whole.
func (m *MemoryFile) Save(data []byte) error {
	f, err := os.CreateTemp(m.dir, filepath.Base(m.path)+".new-*") // mode 600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), m.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
