package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/tailscale/hujson"

	"ecsagent/tests/image"
	"ecsagent/tests/registry"
)

// readDefinition reads a task definition as people keep it, with comments.
func readDefinition(file string) (map[string]any, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the task definition: %w", err)
	}
	plain, err := hujson.Standardize(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	var definition map[string]any
	if err := json.Unmarshal(plain, &definition); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return definition, nil
}

// serveImages builds the example images that a definition names, serves them from a
// registry on loopback and lets the definition point there.
func (d *demo) serveImages(ctx context.Context, definition map[string]any) error {
	server, err := registry.Start()
	if err != nil {
		return err
	}
	d.undo = append(d.undo, func(context.Context) error {
		server.Kill()
		return nil
	})
	refs := map[string]string{} // by name in the file
	containers, _ := definition["containerDefinitions"].([]any)
	for _, c := range containers {
		container, _ := c.(map[string]any)
		name, _ := container["image"].(string)
		if !strings.HasPrefix(name, "example/") {
			continue
		}
		if refs[name] == "" {
			if refs[name], err = d.push(ctx, server, name); err != nil {
				return err
			}
		}
		container["image"] = refs[name]
	}
	return nil
}

func (d *demo) push(ctx context.Context, server *registry.Server, name string) (string, error) {
	var img v1.Image
	var err error
	switch repository, _, _ := strings.Cut(name, ":"); repository {
	case "example/tools":
		img, err = image.Busybox(v1.Config{Cmd: []string{"sh"}})
	default:
		program := filepath.Join(d.programs, "examples", strings.TrimPrefix(repository, "example/"))
		img, err = image.Program(program, v1.Config{ExposedPorts: map[string]struct{}{"8080/tcp": {}}})
	}
	if err != nil {
		return "", fmt.Errorf("build image %s: %w", name, err)
	}
	ref, digest, err := server.Push(ctx, name, img)
	if err != nil {
		return "", err
	}
	d.say("image built from scratch: %s (%s)", ref, digest[:19])
	return ref, nil
}
