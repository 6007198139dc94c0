package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// DescriptorStore keeps data in memory files whose descriptors the service manager
// holds while the service is down (sd_notify(3), FDSTORE). There are two, written in
// turns, so that a kill in the middle of a write leaves the other one whole.
type DescriptorStore struct {
	name  string
	files [2]*os.File
	seq   uint64
}

// header stands before the data: sequence number, length and checksum.
const headerSize = 8 + 8 + 4

// maxStored bounds what is read back.
const maxStored = 64 << 20

// OpenDescriptorStore takes the descriptors that the service manager gave back, by
// their names NAME-0 and NAME-1, and makes and hands over those that are missing.
// notify is the service manager's socket, $NOTIFY_SOCKET.
func OpenDescriptorStore(notify, name string, inherited map[string]*os.File) (*DescriptorStore, error) {
	s := &DescriptorStore{name: name}
	for i := range s.files {
		label := fmt.Sprintf("%s-%d", name, i)
		if f := inherited[label]; f != nil {
			s.files[i] = f
			continue
		}
		fd, err := unix.MemfdCreate(label, unix.MFD_CLOEXEC)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("make a memory file: %w", err)
		}
		s.files[i] = os.NewFile(uintptr(fd), label)
		if err := handOver(notify, label, s.files[i]); err != nil {
			s.Close()
			return nil, fmt.Errorf("hand a memory file to the service manager: %w", err)
		}
	}
	return s, nil
}

// String names the store.
func (s *DescriptorStore) String() string { return "the service manager's descriptor store" }

// Load returns the data that was saved last; nil when there is none.
func (s *DescriptorStore) Load() (data []byte, err error) {
	for _, f := range s.files {
		seq, content, err := readStored(f)
		if err == nil && seq > s.seq {
			s.seq, data = seq, content
		}
	}
	return data, nil
}

// Save replaces the data.
func (s *DescriptorStore) Save(data []byte) error {
	f := s.files[(s.seq+1)%2]
	record := make([]byte, headerSize, headerSize+len(data))
	binary.LittleEndian.PutUint64(record[0:], s.seq+1)
	binary.LittleEndian.PutUint64(record[8:], uint64(len(data)))
	binary.LittleEndian.PutUint32(record[16:], crc32.ChecksumIEEE(data))
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(append(record, data...), 0); err != nil {
		return err
	}
	s.seq++
	return nil
}

// Close lets go of the files; the service manager keeps its own.
func (s *DescriptorStore) Close() {
	for _, f := range s.files {
		if f != nil {
			_ = f.Close()
		}
	}
}

func readStored(f *os.File) (seq uint64, data []byte, err error) {
	record, err := io.ReadAll(io.NewSectionReader(f, 0, maxStored))
	if err != nil {
		return 0, nil, err
	}
	if len(record) < headerSize {
		return 0, nil, errors.New("no record")
	}
	data = record[headerSize:]
	if binary.LittleEndian.Uint64(record[8:]) != uint64(len(data)) || binary.LittleEndian.Uint32(record[16:]) != crc32.ChecksumIEEE(data) {
		return 0, nil, errors.New("damaged record")
	}
	return binary.LittleEndian.Uint64(record), data, nil
}

// handOver sends a descriptor to the service manager.
func handOver(notify, label string, f *os.File) error {
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	// A name that begins with @ is one without a file; unix.SockaddrUnix knows that.
	return unix.Sendmsg(socket, []byte("FDSTORE=1\nFDNAME="+label), unix.UnixRights(int(f.Fd())), &unix.SockaddrUnix{Name: notify}, 0)
}

// Inherited returns the descriptors that the service manager passed to this process,
// by name (sd_listen_fds(3)). getenv and pid describe the process; the descriptors
// are this process's own.
func Inherited(getenv func(string) string, pid int) map[string]*os.File {
	if p, err := strconv.Atoi(getenv("LISTEN_PID")); err != nil || p != pid {
		return nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 1 || n > 1024 {
		return nil
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	files := make(map[string]*os.File, n)
	for i := range n {
		fd := firstInherited + i
		name := "unknown"
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		if _, taken := files[name]; taken {
			name = fmt.Sprintf("%s-%d", name, fd)
		}
		unix.CloseOnExec(fd)
		files[name] = os.NewFile(uintptr(fd), name)
	}
	return files
}

// firstInherited is the number of the first descriptor that is passed.
const firstInherited = 3
