// Command pause-image writes the pause image as an archive for docker load
// (docs/spec/05 section 3.2). The same program gives the same archive, byte for byte.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// repoTag is the name under which the agent looks for the image.
const repoTag = "amazon/amazon-ecs-pause:0.1.0"

func main() {
	program := flag.String("program", "", "the static program")
	arch := flag.String("arch", "amd64", "its architecture, as in GOARCH")
	output := flag.String("o", "", "the archive to write")
	flag.Parse()
	if err := run(*program, *arch, *output); err != nil {
		fmt.Fprintln(os.Stderr, "pause-image:", err)
		os.Exit(1)
	}
}

func run(program, arch, output string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("read the program: %w", err)
	}
	image, err := archive(content, arch)
	if err != nil {
		return err
	}
	// Whoever reads the archive meanwhile sees the old one or the new one.
	f, err := os.CreateTemp(filepath.Dir(output), ".pause-*")
	if err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // renamed when all went well
	_, err = f.Write(image)
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

// archive is the image with the program at /pause as its only file.
func archive(program []byte, arch string) ([]byte, error) {
	var layer, image bytes.Buffer
	if err := pack(&layer, file{"pause", 0o755, program}); err != nil {
		return nil, err
	}
	layerSum := digest(layer.Bytes())
	config, err := json.Marshal(map[string]any{
		"architecture": arch, "os": "linux",
		"created": "1970-01-01T00:00:00Z",
		"config":  map[string]any{"Cmd": []string{"/pause"}},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layerSum}},
		"history": []any{map[string]any{"created": "1970-01-01T00:00:00Z", "created_by": "pause"}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the configuration: %w", err)
	}
	configName, layerName := digest(config)+".json", layerSum+"/layer.tar"
	manifest, err := json.Marshal([]any{map[string]any{
		"Config": configName, "RepoTags": []string{repoTag}, "Layers": []string{layerName},
	}})
	if err != nil {
		return nil, fmt.Errorf("encode the manifest: %w", err)
	}
	err = pack(&image, file{"manifest.json", 0o644, manifest}, file{configName, 0o644, config}, file{layerName, 0o644, layer.Bytes()})
	return image.Bytes(), err
}

type file struct {
	name    string
	mode    int64
	content []byte
}

func pack(to io.Writer, files ...file) error {
	w := tar.NewWriter(to)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			return fmt.Errorf("archive %s: %w", f.name, err)
		}
		if _, err := w.Write(f.content); err != nil {
			return fmt.Errorf("archive %s: %w", f.name, err)
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
