// Package lab is where the agent is broken on purpose: its programs in a test build, an
// engine, an image, and sites, each with a control plane, an agent that is started again
// whenever it dies, proxies in between, and a record of all that Docker and ECS saw.
package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	docker "github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/tests/image"
	"ecsagent/tests/registry"
)

// Lab is what all sites share.
type Lab struct {
	Host     string // DOCKER_HOST of the engine
	Programs string // folder of ecs-agent, with failpoints, and ecs-local
	Docker   *docker.Client
	registry *registry.Server
	guest    bool // on programs and a registry of another
}

// Open builds the programs and pushes the image. host is a DOCKER_HOST.
func Open(ctx context.Context, host string) (l *Lab, err error) {
	l = &Lab{Host: host}
	made := l
	defer func() {
		if err != nil {
			made.Close()
		}
	}()
	if l.Docker, err = docker.NewClientWithOpts(docker.WithHost(host), docker.WithAPIVersionNegotiation()); err != nil {
		return nil, fmt.Errorf("make a Docker client: %w", err)
	}
	if _, err = l.Docker.Ping(ctx); err != nil {
		return nil, fmt.Errorf("ask the engine: %w", err)
	}
	if l.Programs, err = os.MkdirTemp("", "ecsagent-lab-"); err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"-tags", "failpoint", "ecsagent/agent/cmd/ecs-agent"}, {"ecsagent/controlplane/cmd/ecs-local"}} {
		build := exec.CommandContext(ctx, "go", append([]string{"build", "-o", l.Programs + string(filepath.Separator)}, args...)...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the programs: %w\n%s", err, out)
		}
	}
	l.registry, err = registry.Start()
	return l, err
}

// On is the same lab with another engine. It is to be closed before the one it is made of.
func (l *Lab) On(host string) (*Lab, error) {
	cli, err := docker.NewClientWithOpts(docker.WithHost(host), docker.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("make a Docker client: %w", err)
	}
	return &Lab{Host: host, Programs: l.Programs, Docker: cli, registry: l.registry, guest: true}, nil
}

// Image pushes an image with a shell that no engine has yet and returns its reference.
func (l *Lab) Image(ctx context.Context) (string, error) {
	name := Name("i")
	img, err := image.Busybox(v1.Config{Cmd: []string{"sleep", "3600"}, Labels: map[string]string{"lab": name}})
	if err != nil {
		return "", err
	}
	ref, _, err := l.registry.Push(ctx, name+":1", img)
	return ref, err
}

// Close ends the registry and removes the programs.
func (l *Lab) Close() {
	if l.registry != nil && !l.guest {
		l.registry.Kill()
	}
	if l.Programs != "" && !l.guest {
		_ = os.RemoveAll(l.Programs)
	}
	if l.Docker != nil {
		_ = l.Docker.Close()
	}
}

// Name makes a name that nobody else has.
func Name(prefix string) string {
	b := make([]byte, 6)
	_, _ = rand.Read(b) // never fails
	return prefix + hex.EncodeToString(b)
}
