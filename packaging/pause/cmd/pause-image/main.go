// Command pause-image writes the pause image as an archive for docker load
// (docs/spec/05 section 3.2). The same program gives the same archive, byte for byte.
package main

import (
	"flag"
	"fmt"
	"os"

	"ecsagent/packaging/archive"
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
	return image(content, arch).Write(output)
}

// image is the image with the program at /pause as its only file.
func image(program []byte, arch string) archive.Image {
	return archive.Image{
		Tag: repoTag, Arch: arch, By: "pause", Config: map[string]any{"Cmd": []string{"/pause"}},
		Files: []archive.File{{Name: "pause", Mode: 0o755, Content: program}},
	}
}
