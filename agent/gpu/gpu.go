// Package gpu reads what host preparation found out about the host's GPUs
// (docs/spec/03 section 5.8).
package gpu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// maxFile bounds what is read of the file, in bytes.
const maxFile = 1 << 20

// Info is what is known of the host's GPUs. The zero value is a host without any.
type Info struct {
	DriverVersion string
	GPUIDs        []string // such as GPU-8f6d…
}

// Read reads the file that describes the GPUs. A file that is not there is an error of
// kind fs.ErrNotExist, and may mean that there are none.
func Read(name string) (Info, error) {
	f, err := os.Open(name)
	if err != nil {
		return Info{}, fmt.Errorf("read the description of the GPUs: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return Info{}, fmt.Errorf("read the description of the GPUs: %w", err)
	}
	info, err := parse(data)
	if err != nil {
		return Info{}, fmt.Errorf("read the description of the GPUs %q: %w", name, err)
	}
	return info, nil
}

func parse(data []byte) (Info, error) {
	if len(data) > maxFile {
		return Info{}, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	var info *Info
	if err := json.Unmarshal(data, &info); err != nil {
		return Info{}, fmt.Errorf(`want {"DriverVersion": "...", "GPUIDs": ["GPU-..."]}: %w`, err)
	}
	if info == nil {
		return Info{}, errors.New(`it is null: want {"DriverVersion": "...", "GPUIDs": ["GPU-..."]}`)
	}
	for i, id := range info.GPUIDs {
		if id == "" || slices.Contains(info.GPUIDs[:i], id) {
			return Info{}, fmt.Errorf("GPUIDs[%d] is %q: want ids that are neither empty nor the same", i, id)
		}
	}
	return *info, nil
}

// Missing reports whether an error of Read says that there is no file.
func Missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
