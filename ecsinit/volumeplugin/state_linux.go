package volumeplugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// record is a volume in the state file, whose format is that of the official plugin. It
// is never changed, only replaced.
type record struct {
	Type      string            `json:"type,omitempty"`
	Path      string            `json:"path,omitempty"`
	Options   map[string]string `json:"options,omitempty"`
	CreatedAt string            `json:"createdAt,omitempty"`
	// Mounts counts the mounts by the id that Docker gives to each of its own.
	Mounts map[string]int `json:"mounts,omitempty"`
}

// content is the whole file.
type content struct {
	Volumes map[string]record `json:"volumes,omitempty"`
}

// stateFile is where the volumes are kept.
type stateFile string

// load reads the file. One that is not there or has no byte in it is one without volumes.
func (f stateFile) load() (map[string]record, error) {
	text, err := os.ReadFile(string(f))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the plugin's state: %w", err)
	}
	volumes, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("read the plugin's state %q: %w; a file that is moved away makes the plugin forget its volumes", string(f), err)
	}
	return volumes, nil
}

func parse(text []byte) (map[string]record, error) {
	volumes := make(map[string]record)
	if len(bytes.TrimSpace(text)) == 0 {
		return volumes, nil
	}
	var c content
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	for name, r := range c.Volumes {
		if err := checkName(name); err != nil {
			return nil, err
		}
		if !slices.Contains(types, r.Type) {
			return nil, fmt.Errorf("volume %q: type is %q: want efs or s3files", name, r.Type)
		}
		if !filepath.IsAbs(r.Path) {
			return nil, fmt.Errorf("volume %q: path is %q: want an absolute path", name, r.Path)
		}
		for id, count := range r.Mounts {
			if count < 1 { // an older format, which did not count
				r.Mounts[id] = 1
			}
		}
		volumes[name] = r
	}
	return volumes, nil
}

// save puts a new file in the place of the old one, durably.
func (f stateFile) save(volumes map[string]record) error {
	text, err := json.MarshalIndent(content{volumes}, "", "\t")
	if err != nil {
		return err
	}
	if err := f.write(text); err != nil {
		return fmt.Errorf("save the plugin's state: %w", err)
	}
	return nil
}

// write has one caller at a time, so that a draft is always the last one's.
func (f stateFile) write(text []byte) error {
	dir := filepath.Dir(string(f))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	draft := string(f) + ".new"
	out, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if err := os.Rename(draft, string(f)); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
