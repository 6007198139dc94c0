package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ecsagent/agent/update"
	"ecsagent/agent/update/bundle"
)

// agentState is the agent's state file, store.FileName; its journal's name begins likewise.
const agentState = "ecs-agent.db"

// askLimit bounds the question of a new agent for its version.
const askLimit = 20 * time.Second

// Staged is an update that an agent has left for the next start.
type Staged struct {
	Dir  string // where it is
	Name string
	ID   string // what its SHA-256 must be
}

// FindStaged reads what is staged in a folder; nil: nothing.
func FindStaged(dir string) (*Staged, error) {
	path := filepath.Join(dir, update.DesiredImage)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing staged is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read which update is staged: %w", err)
	}
	s := &Staged{Dir: dir}
	lines := strings.Split(string(text), "\n")
	if s.Name = lines[0]; len(lines) < 2 || s.Name == "" || filepath.Base(s.Name) != s.Name || s.Name == ".." || s.Name == "." {
		return s, fmt.Errorf("%s holds %.80q: want the name of a file beside it, and the end of the line", path, text)
	}
	for _, line := range lines[1:] {
		if id, ok := strings.CutPrefix(line, update.DesiredDigest); ok && len(id) == 64 && isHex(id) {
			s.ID = id
			return s, nil
		}
	}
	return s, fmt.Errorf("%s holds %.80q: want a line %q with the update's SHA-256", path, text, update.DesiredDigest+"…")
}

// Discard removes what is staged.
func (s *Staged) Discard() error {
	err := os.Remove(filepath.Join(s.Dir, update.DesiredImage))
	if s.Name != "" && filepath.Base(s.Name) == s.Name && strings.HasSuffix(s.Name, update.Suffix) {
		err = errors.Join(err, os.Remove(filepath.Join(s.Dir, s.Name)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Check compares the update with its SHA-256 and reads what it says of itself.
func (s *Staged) Check() (*bundle.Bundle, error) {
	path := filepath.Join(s.Dir, s.Name)
	sum, err := hash(path)
	if err != nil {
		return nil, fmt.Errorf("read the update: %w", err)
	}
	if sum != s.ID {
		return nil, fmt.Errorf("the update is damaged: its SHA-256 is %s, not %s", sum, s.ID)
	}
	return bundle.Open(path)
}

func hash(path string) (sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Unpack takes the agent out of an update, asks it for its version, and keeps a copy of the
// state that the agent of now has in dataDir. Nothing of a failure is left.
func (f Folder) Unpack(ctx context.Context, id string, b *bundle.Bundle, dataDir string) (r Release, err error) {
	r = Release{ID: id, Version: b.Version}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return r, fmt.Errorf("unpack the update: %w", err)
	}
	temp, err := os.MkdirTemp(string(f), "unpacking-")
	if err != nil {
		return r, fmt.Errorf("unpack the update: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	agent := filepath.Join(temp, program)
	if err := b.Extract(agent); err != nil {
		return r, fmt.Errorf("unpack the update: %w", err)
	}
	if r.Version, err = ask(ctx, agent); err != nil {
		return r, err
	}
	if err := keepState(dataDir, filepath.Join(temp, before)); err != nil {
		return r, fmt.Errorf("keep the agent's state of before: %w", err)
	}
	if err := syncFolder(temp); err != nil {
		return r, fmt.Errorf("unpack the update: %w", err)
	}
	// One of this name is of an earlier try.
	if err := os.RemoveAll(f.of(&r)); err != nil {
		return r, fmt.Errorf("unpack the update: %w", err)
	}
	if err := os.Rename(temp, f.of(&r)); err != nil {
		return r, fmt.Errorf("unpack the update: %w", err)
	}
	return r, nil
}

// KeepState keeps a copy of the agent's state beside a release that needs no program of its
// own. It takes the place of one of an earlier try.
func (f Folder) KeepState(r Release, dataDir string) error {
	err := os.RemoveAll(f.of(&r))
	if err == nil {
		err = os.MkdirAll(f.of(&r), 0o700)
	}
	if err == nil {
		err = keepState(dataDir, filepath.Join(f.of(&r), before))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep the agent's state of before: %w", err), os.RemoveAll(f.of(&r)))
	}
	return nil
}

// ask has the new agent say its version: one that does not even do that is none.
func ask(ctx context.Context, agent string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, agent, "-version").Output()
	if err != nil {
		return "", fmt.Errorf("ask the update for its version: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "Version: "); ok && len(version) < 100 {
			return version, nil
		}
	}
	return "", fmt.Errorf("ask the update for its version: it says %.80q", out)
}

// keepState copies the state file of an agent that does not run, and its journal.
func keepState(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, agentState+"*"))
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	for _, file := range files {
		if name := filepath.Base(file); name == agentState || strings.HasPrefix(name, agentState+"-") {
			if err := copyFile(file, filepath.Join(to, name)); err != nil {
				return err
			}
		}
	}
	return syncFolder(to)
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}
