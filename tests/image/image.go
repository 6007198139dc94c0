// Package image builds container images from scratch: a layer of files and a
// configuration, without an engine and without a network. The same input gives the
// same digest.
package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// File is a file, a directory or a symbolic link of an image.
type File struct {
	Path string // absolute
	Mode int64  // permission bits; 0 means 0755
	Data []byte // content of a regular file
	Link string // target, for a symbolic link
	Dir  bool
}

// Build makes an image of one layer.
func Build(files []File, config v1.Config) (v1.Image, error) {
	content, err := archive(files)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	})
	if err != nil {
		return nil, fmt.Errorf("make a layer of %d files: %w", len(files), err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("append the layer: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the empty image's configuration: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", runtime.GOARCH, config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return nil, fmt.Errorf("set the configuration: %w", err)
	}
	return img, nil
}

func archive(files []File) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: strings.TrimPrefix(path.Clean(f.Path), "/"), Mode: f.Mode, Size: int64(len(f.Data)), Typeflag: tar.TypeReg}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		switch {
		case f.Dir:
			h.Typeflag, h.Size = tar.TypeDir, 0
			h.Name += "/"
		case f.Link != "":
			h.Typeflag, h.Size, h.Linkname = tar.TypeSymlink, 0, f.Link
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("archive %s: %w", f.Path, err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(f.Data); err != nil {
				return nil, fmt.Errorf("archive %s: %w", f.Path, err)
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("finish the archive: %w", err)
	}
	return buf.Bytes(), nil
}

// Program makes an image that runs one static program.
func Program(file string, config v1.Config) (v1.Image, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	name := "/" + filepath.Base(file)
	config.Entrypoint = []string{name}
	return Build([]File{{Path: name, Data: data}, {Path: "/tmp", Dir: true, Mode: 0o1777}}, config)
}

// Busybox makes an image with a shell and the usual small tools, from the host's
// static busybox. It has the users root and app (1000:1000).
func Busybox(config v1.Config) (v1.Image, error) {
	file, err := FindBusybox()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read busybox: %w", err)
	}
	applets, err := exec.Command(file, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list the applets of %s: %w", file, err)
	}
	files := []File{
		{Path: "/bin", Dir: true}, {Path: "/etc", Dir: true}, {Path: "/work", Dir: true, Mode: 0o777},
		{Path: "/tmp", Dir: true, Mode: 0o1777}, {Path: "/home/app", Dir: true},
		{Path: "/etc/passwd", Mode: 0o644, Data: []byte("root:x:0:0:root:/:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n")},
		{Path: "/etc/group", Mode: 0o644, Data: []byte("root:x:0:\napp:x:1000:\n")},
		{Path: "/bin/busybox", Data: data},
	}
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet != "busybox" {
			files = append(files, File{Path: "/bin/" + applet, Link: "busybox"})
		}
	}
	if config.Env == nil {
		config.Env = []string{"PATH=/bin"}
	}
	return Build(files, config)
}

// FindBusybox returns the host's static busybox.
func FindBusybox() (string, error) {
	for _, file := range []string{"/bin/busybox", "/usr/bin/busybox", "/usr/local/bin/busybox"} {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, nil
		}
	}
	return "", errors.New("find busybox: none on this host; scripts/deps test installs busybox-static")
}
