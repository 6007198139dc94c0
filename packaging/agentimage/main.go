// Command agentimage writes the container image of the agent as an archive for docker load:
// the agent, its network plugins and the pause image, and nothing else. The archive is also
// what an update of the agent is (package bundle).
package main

import (
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"ecsagent/agent/update/bundle"
	"ecsagent/packaging/archive"
)

// repository is the image's name.
const repository = "ecsagent"

// plugins are the names under which the network plugins are called.
var plugins = []string{"aws-appmesh", "ecs-bridge", "ecs-eni", "ecs-ipam", "ecs-serviceconnect", "vpc-branch-eni", "vpc-eni"}

func main() {
	programs := flag.String("programs", "", "`FOLDER` with ecs-agent, ecs-cni and amazon-ecs-pause.tar")
	version := flag.String("version", "", "the agent's version")
	arch := flag.String("arch", "amd64", "its architecture, as in GOARCH")
	output := flag.String("o", "", "the archive to write")
	flag.Parse()
	if err := run(*programs, *version, *arch, *output); err != nil {
		fmt.Fprintln(os.Stderr, "agentimage:", err)
		os.Exit(1)
	}
}

func run(programs, version, arch, output string) error {
	image := archive.Image{
		Tag: repository + ":" + version, Arch: arch, By: "ecsagent",
		Config: map[string]any{
			"Entrypoint": []string{bundle.Program},
			// The host's programs, where the host is mounted, come last: the image has none
			// of its own but the agent's.
			"Env":         []string{"PATH=/usr/libexec/amazon-ecs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/host/sbin"},
			"Healthcheck": map[string]any{"Test": []string{"CMD", bundle.Program, "-healthcheck"}},
			"Labels":      map[string]string{bundle.VersionLabel: version, "org.opencontainers.image.title": "Amazon ECS container agent, an independent implementation"},
		},
	}
	plugin := path.Join(path.Dir(bundle.Program), "cni")
	for _, f := range []struct {
		from, to string
		mode     int64
	}{
		{"ecs-agent", bundle.Program, 0o755},
		{"ecs-cni", path.Join(plugin, "ecs-cni"), 0o755},
		{"amazon-ecs-pause.tar", "/usr/share/amazon-ecs/amazon-ecs-pause.tar", 0o644},
	} {
		content, err := os.ReadFile(filepath.Join(programs, f.from))
		if err != nil {
			return fmt.Errorf("read what goes into the image: %w", err)
		}
		image.Files = append(image.Files, archive.File{Name: f.to[1:], Mode: f.mode, Content: content})
	}
	for _, name := range plugins {
		image.Files = append(image.Files, archive.File{Name: path.Join(plugin, name)[1:], Mode: 0o777, Link: "ecs-cni"})
	}
	return image.Write(output)
}
