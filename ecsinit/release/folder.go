package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// stateFile is what a Folder remembers.
	stateFile = "state.json"
	// program is the name of a release's agent in its folder; it is the process's name too.
	program = "ecs-agent"
	// before is what a release's folder holds of the agent's state from before it.
	before = "state-before"
)

// Folder is where releases and what was decided about them are kept.
type Folder string

// Load reads what was decided. What cannot be read counts as nothing decided, so that the
// packaged agent runs; the error says so.
func (f Folder) Load() (State, error) {
	var s State
	text, err := os.ReadFile(f.file(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err == nil && (s.Trial != nil && s.Current == nil || s.Current != nil && !sound(s.Current) || s.Former != nil && !sound(s.Former)) {
		err = errors.New("its releases are not complete")
	}
	if err != nil {
		return State{}, fmt.Errorf("read which agent to run %q: %w", f.file(stateFile), err)
	}
	return s, nil
}

// sound reports whether a release names a folder of its own and nothing else.
func sound(r *Release) bool { return len(r.ID) == 64 && isHex(r.ID) }

func isHex(s string) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Save makes a decision durable. Nothing decided is no file.
func (f Folder) Save(s State) error {
	if err := f.save(s); err != nil {
		return fmt.Errorf("remember which agent to run: %w", err)
	}
	return nil
}

func (f Folder) save(s State) error {
	if s == (State{}) {
		if err := os.Remove(f.file(stateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return err
	}
	temp := f.file(stateFile + ".new")
	if err := writeSynced(temp, append(text, '\n')); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, f.file(stateFile)); err != nil {
		return err
	}
	return syncFolder(string(f))
}

// Program is the agent of a release, packaged that of the package.
func (f Folder) Program(r *Release, packaged string) string {
	if r == nil || r.Image != "" {
		return packaged
	}
	return filepath.Join(f.of(r), program)
}

// Forget removes the folders of all releases but those that the state names.
func (f Folder) Forget(s State) error {
	entries, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove former agents: %w", err)
	}
	keep := map[string]bool{}
	for _, r := range []*Release{s.Current, s.Former} {
		if r != nil {
			keep[f.of(r)] = true
		}
	}
	if s.Refused != nil { // for whoever wants to know what was wrong with it
		keep[f.of(&s.Refused.Release)] = true
	}
	for _, e := range entries {
		path := f.file(e.Name())
		if !e.IsDir() || keep[path] {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove former agents: %w", err)
		}
	}
	return nil
}

func (f Folder) file(name string) string { return filepath.Join(string(f), name) }

// of is the folder of a release.
func (f Folder) of(r *Release) string { return f.file(r.ID) }

func writeSynced(path string, text []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Sync()
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}
