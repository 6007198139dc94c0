package awsfolder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
)

// file is one in the folder. Its text is without the newline at the end.
type file struct {
	text    string
	changed time.Time
}

// in is the path of something in a region.
func (s *Services) in(region string, parts ...string) string {
	if region != s.region {
		parts = append([]string{region}, parts...)
	}
	return path.Join(parts...)
}

// open opens a regular file. A name that leads out of base, or that is not the shortest of
// its file, is of no file.
func (s *Services) open(base, name string) (*os.File, fs.FileInfo, error) {
	if name == "" || path.Clean("/"+name) != "/"+name || !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, nil, fs.ErrNotExist
	}
	f, err := s.root.Open(filepath.FromSlash(path.Join(base, name)))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || isNotDirectory(err) {
			return nil, nil, fs.ErrNotExist
		}
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// read reads a short file.
func (s *Services) read(base, name string, limit int) (file, error) {
	f, info, err := s.open(base, name)
	if err != nil {
		return file{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return file{}, fmt.Errorf("read %s: %w", path.Join(base, name), err)
	}
	short := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if len(text) > limit {
		return file{}, fmt.Errorf("%s is longer than %d bytes", path.Join(base, name), limit)
	}
	return file{text: short, changed: info.ModTime()}, nil
}

// isNotDirectory reports whether a part of a path is a file.
func isNotDirectory(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && strings.Contains(p.Err.Error(), "not a directory")
}

// unreadable is the answer for what is there and cannot be read.
func (s *Services) unreadable(what string, err error) *refusal {
	s.log.Warn("not read", zap.String("name", what), zap.Error(err))
	return &refusal{status: http.StatusInternalServerError, code: "InternalServerError", message: "It is there, and it cannot be read. The log of ecs-local tells why."}
}

// asRefusal is how a service tells of an error.
func asRefusal(err error) *refusal {
	var r *refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return r
	}
	return &refusal{status: http.StatusInternalServerError, code: "InternalServerError", message: err.Error()}
}
