package update

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"ecsagent/agent/update/bundle"
)

const (
	// DesiredImage is the file that tells the supervisor which update to load: its name on
	// the first line, DesiredDigest and its SHA-256 on another.
	DesiredImage = "desired-image"
	// DesiredDigest begins the line with the hash.
	DesiredDigest = "sha256:"
	// Suffix ends the names of updates.
	Suffix = ".ecs-update.tar"
)

// maxSize bounds an update, so that a wrong location cannot fill the disk.
const maxSize = 4 << 30

// fetch downloads, checks and stages the update of m.
func (u *Updater) fetch(ctx context.Context, m Message) (err error) {
	location, err := u.location(m.Location)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return fmt.Errorf("build request: %w", err)
	}
	resp, err := u.opts.Client.Do(req)
	if err != nil {
		return fmt.Errorf("download update: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("download update: HTTP status %s, want 200", resp.Status)
	}

	name := rand.Text() + Suffix
	path := filepath.Join(u.opts.Dir, name)
	defer func() {
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	sum, err := write(path, resp.Body)
	if err != nil {
		return err
	}
	if want := strings.TrimSpace(m.Signature); sum != want {
		return fmt.Errorf("check update: SHA-256 is %s, want %q", sum, want)
	}
	if _, err := bundle.Open(path); err != nil {
		return fmt.Errorf("check update: %w", err)
	}
	if err := replace(filepath.Join(u.opts.Dir, DesiredImage), name+"\n"+DesiredDigest+sum+"\n"); err != nil {
		return err
	}
	return u.removeOthers(name)
}

// removeOthers removes updates that were staged before and are not meant any more.
func (u *Updater) removeOthers(name string) error {
	staged, err := filepath.Glob(filepath.Join(u.opts.Dir, "*"+Suffix))
	if err != nil {
		return fmt.Errorf("find former updates: %w", err)
	}
	for _, path := range staged {
		if filepath.Base(path) != name {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove a former update: %w", err)
			}
		}
	}
	return nil
}

func (u *Updater) location(raw string) (string, error) {
	if u.opts.DualStack {
		raw = strings.Replace(raw, "s3.", "s3.dualstack.", 1)
	}
	loc, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("parse location: %w", err)
	}
	if loc.Scheme != "http" && loc.Scheme != "https" {
		return "", fmt.Errorf("location %q: scheme must be http or https", raw)
	}
	return raw, nil
}

// write stores body in a new file and returns its SHA-256.
func write(path string, body io.Reader) (sum string, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("create update file: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close update file: %w", cerr)
		}
	}()
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, hash), io.LimitReader(body, maxSize+1))
	if err != nil {
		return "", fmt.Errorf("download update: %w", err)
	}
	if n > maxSize {
		return "", fmt.Errorf("download update: more than %d bytes", int64(maxSize))
	}
	if err := f.Sync(); err != nil {
		return "", fmt.Errorf("sync update file: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// replace writes a small file so that a reader sees the old or the new text.
func replace(path, text string) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", DesiredImage, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("write %s: %w", DesiredImage, err)
	}
	return nil
}
