package pause

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"ecsagent/agent/runtime"
)

// Bounds of what is read of an archive, in bytes and in files.
const (
	maxDocument = 1 << 20
	maxFiles    = 100
)

// contentOf reads what an image in an archive of docker save is made of.
func contentOf(r io.Reader, name string) (*runtime.ImageContent, error) {
	documents, err := smallFiles(r)
	if err != nil {
		return nil, err
	}
	var manifest []struct {
		Config   string
		RepoTags []string
	}
	raw, ok := documents["manifest.json"]
	if !ok {
		return nil, errors.New("it has no manifest.json")
	}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return nil, fmt.Errorf("its manifest.json: %w", err)
	}
	for _, m := range manifest {
		if !slices.Contains(m.RepoTags, name) {
			continue
		}
		if raw, ok = documents[path.Clean(m.Config)]; !ok {
			return nil, fmt.Errorf("it has no configuration %q", m.Config)
		}
		var config struct {
			Config struct{ Entrypoint, Cmd []string }
			Rootfs struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		if err := json.Unmarshal(raw, &config); err != nil {
			return nil, fmt.Errorf("its configuration %q: %w", m.Config, err)
		}
		sum := sha256.Sum256(raw)
		return &runtime.ImageContent{
			ID: "sha256:" + hex.EncodeToString(sum[:]), Layers: config.Rootfs.DiffIDs,
			Command: slices.Concat(config.Config.Entrypoint, config.Config.Cmd),
		}, nil
	}
	return nil, fmt.Errorf("it has no image %s", name)
}

// smallFiles reads the files of a tar archive that may be documents.
func smallFiles(r io.Reader) (map[string][]byte, error) {
	files := make(map[string][]byte)
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if n == maxFiles {
			return nil, fmt.Errorf("it has more than %d files", maxFiles)
		}
		if h.Typeflag != tar.TypeReg || h.Size > maxDocument || path.Ext(h.Name) == ".tar" {
			continue
		}
		content, err := io.ReadAll(t)
		if err != nil {
			return nil, err
		}
		files[path.Clean(h.Name)] = content
	}
}
