package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// sequenceBlock is how many numbers are reserved with one write. After a crash the
// rest of a block is skipped, which does no harm: numbers only have to rise.
const sequenceBlock = 1000

// sequences counts for agentlink.Sequences and keeps what it has given out in a
// file: the end of the reserved block of each instance, by ARN.
type sequences struct {
	path string

	mu       sync.Mutex
	last     map[string]int64
	reserved map[string]int64
}

func openSequences(path string) (*sequences, error) {
	s := &sequences{path: path, last: make(map[string]int64), reserved: make(map[string]int64)}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read sequence numbers: %w", err)
	}
	if err := json.Unmarshal(data, &s.reserved); err != nil {
		return nil, fmt.Errorf("read sequence numbers in %s: %w", path, err)
	}
	for arn, n := range s.reserved {
		s.last[arn] = n
	}
	return s, nil
}

// Next implements agentlink.Sequences. The lock is held over the write of a block:
// a number must not be used before its block is on disk.
func (s *sequences) Next(instanceARN string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.last[instanceARN] + 1
	s.last[instanceARN] = n
	if n <= s.reserved[instanceARN] {
		return n, nil
	}
	s.reserved[instanceARN] = n + sequenceBlock - 1
	if err := s.save(); err != nil {
		s.reserved[instanceARN] = n - 1 // tried again with the next number
		return n, err
	}
	return n, nil
}

// save replaces the file as a whole.
func (s *sequences) save() error {
	data, err := json.Marshal(s.reserved)
	if err != nil {
		return fmt.Errorf("encode sequence numbers: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), ".sequences-*")
	if err != nil {
		return fmt.Errorf("save sequence numbers: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return fmt.Errorf("save sequence numbers: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
