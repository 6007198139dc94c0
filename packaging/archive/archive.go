// Package archive writes container images as archives for docker load. The same files give
// the same archive, byte for byte.
package archive

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// File is one file of an image.
type File struct {
	Name    string // without the slash at its front
	Mode    int64
	Content []byte
	Link    string // what a symbolic link leads to; empty: a regular file
}

// Image is a container image of one layer.
type Image struct {
	Tag    string // NAME:VERSION
	OS     string // as in GOOS; empty: linux
	Arch   string // as in GOARCH
	By     string // what made it, for its history
	Config any    // as in the OCI image configuration's "config"
	Files  []File
}

// created is when every image was made, so that it is the same on every day.
const created = "1970-01-01T00:00:00Z"

// Bytes is the image as an archive.
func (i Image) Bytes() ([]byte, error) {
	var layer, image bytes.Buffer
	if err := pack(&layer, folders(i.Files)...); err != nil {
		return nil, err
	}
	layerSum := digest(layer.Bytes())
	config, err := json.Marshal(map[string]any{
		"architecture": i.Arch, "os": cmp.Or(i.OS, "linux"),
		"created": created,
		"config":  i.Config,
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layerSum}},
		"history": []any{map[string]any{"created": created, "created_by": i.By}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the configuration: %w", err)
	}
	configName, layerName := digest(config)+".json", layerSum+"/layer.tar"
	manifest, err := json.Marshal([]any{map[string]any{
		"Config": configName, "RepoTags": []string{i.Tag}, "Layers": []string{layerName},
	}})
	if err != nil {
		return nil, fmt.Errorf("encode the manifest: %w", err)
	}
	err = pack(&image, File{"manifest.json", 0o644, manifest, ""}, File{configName, 0o644, config, ""}, File{layerName, 0o644, layer.Bytes(), ""})
	return image.Bytes(), err
}

// Write writes the image into a file. Whoever reads that meanwhile sees the old one or the
// new one.
func (i Image) Write(output string) error {
	content, err := i.Bytes()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(output), ".image-*")
	if err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // renamed when all went well
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), output)
	}
	if err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	return nil
}

// folders puts the folders of files before them, so that their modes do not depend on who
// unpacks the layer.
func folders(files []File) (all []File) {
	made := map[string]bool{".": true}
	var enter func(dir string)
	enter = func(dir string) {
		if made[dir] {
			return
		}
		enter(path.Dir(dir))
		made[dir] = true
		all = append(all, File{Name: dir + "/", Mode: 0o755})
	}
	for _, f := range files {
		enter(path.Dir(f.Name))
		all = append(all, f)
	}
	return all
}

func pack(to io.Writer, files ...File) error {
	w := tar.NewWriter(to)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Mode: f.Mode, Size: int64(len(f.Content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		switch {
		case f.Link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.Link
		case f.Name[len(f.Name)-1] == '/':
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return fmt.Errorf("archive %s: %w", f.Name, err)
		}
		if _, err := w.Write(f.Content); err != nil {
			return fmt.Errorf("archive %s: %w", f.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("finish the archive: %w", err)
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
