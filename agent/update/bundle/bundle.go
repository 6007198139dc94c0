// Package bundle reads updates of the agent. An update is the container image of the agent
// as `docker save` writes it (docs/spec/01 section 2.8.7): where the agent is a container,
// the image is loaded; where it is a program of the host, the program is taken out of it.
package bundle

import (
	"archive/tar"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
)

const (
	// Program is the agent in its image.
	Program = "/usr/libexec/amazon-ecs/ecs-agent"

	// maxDocument bounds the manifest and the configuration of an image.
	maxDocument = 1 << 20
	// maxProgram bounds the agent.
	maxProgram = 512 << 20
)

// Bundle is an update that is meant for this host.
type Bundle struct {
	// Version is what the image says its agent is; empty: nothing.
	Version string
	// Config is the digest of the image's configuration, which is its id in Docker.
	Config string

	path  string
	layer string // the one that has the agent
}

// Open reads what an update says of itself, and looks for the agent in it. It fails for an
// archive that is damaged, of another program, or for another kind of host.
func Open(file string) (*Bundle, error) {
	var manifest []struct {
		Config string
		Layers []string
	}
	if err := document(file, "manifest.json", &manifest); err != nil {
		return nil, err
	}
	if len(manifest) != 1 || manifest[0].Config == "" || len(manifest[0].Layers) == 0 {
		return nil, fmt.Errorf("the archive holds %d images: want the agent's alone", len(manifest))
	}
	var config struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
		Config       struct{ Labels map[string]string }
	}
	if err := document(file, manifest[0].Config, &config); err != nil {
		return nil, err
	}
	if config.OS != runtime.GOOS || config.Architecture != runtime.GOARCH {
		return nil, fmt.Errorf("the update is for %s/%s, this host is %s/%s", cmp.Or(config.OS, "?"), cmp.Or(config.Architecture, "?"), runtime.GOOS, runtime.GOARCH)
	}
	b := &Bundle{
		Version: config.Config.Labels[VersionLabel], path: file,
		Config: strings.TrimSuffix(path.Base(manifest[0].Config), ".json"),
	}
	// The last layer that has it is the one that counts.
	for _, layer := range manifest[0].Layers {
		if err := b.program(layer, func(io.Reader) error { b.layer = layer; return nil }); err != nil && !errors.Is(err, errNone) {
			return nil, err
		}
	}
	if b.layer == "" {
		return nil, fmt.Errorf("the image has no %s: it is of another program", Program)
	}
	return b, nil
}

// VersionLabel is the label of the image that names the agent's version.
const VersionLabel = "org.opencontainers.image.version"

// Extract writes the agent into a new file and waits until it is on disk. What is left
// of a failure is the caller's to remove.
func (b *Bundle) Extract(to string) error {
	return b.program(b.layer, func(r io.Reader) (err error) {
		f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if _, err := io.Copy(f, r); err != nil {
			return err
		}
		if err := f.Chmod(0o755); err != nil { // whatever the umask says
			return err
		}
		return f.Sync()
	})
}

// errNone is a layer without the agent.
var errNone = errors.New("not in the archive")

// program finds the agent in a layer.
func (b *Bundle) program(layer string, do func(io.Reader) error) error {
	return entry(b.path, layer, func(h *tar.Header, r io.Reader) error {
		err := find(r, strings.TrimPrefix(Program, "/"), func(h *tar.Header, r io.Reader) error {
			if h.Size > maxProgram {
				return fmt.Errorf("%s has %d bytes: want at most %d", Program, h.Size, maxProgram)
			}
			return do(r)
		})
		if err != nil && !errors.Is(err, errNone) {
			return fmt.Errorf("layer %s: %w", h.Name, err)
		}
		return err
	})
}

// document decodes a JSON file of the archive.
func document(file, name string, into any) error {
	err := entry(file, name, func(h *tar.Header, r io.Reader) error {
		if h.Size > maxDocument {
			return fmt.Errorf("%d bytes: want at most %d", h.Size, maxDocument)
		}
		return json.NewDecoder(r).Decode(into)
	})
	if errors.Is(err, errNone) {
		return fmt.Errorf("no container image: the archive has no %s", name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// entry finds a file of the archive.
func entry(file, name string, do func(*tar.Header, io.Reader) error) (err error) {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return find(f, name, do)
}

// find hands over the file of that name in a tar archive. Only regular files count: links
// lead nowhere here.
func find(archive io.Reader, name string, do func(*tar.Header, io.Reader) error) error {
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return errNone
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if h.Typeflag == tar.TypeReg && path.Clean("/"+h.Name) == path.Clean("/"+name) {
			return do(h, r)
		}
	}
}
