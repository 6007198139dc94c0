// Package corpus keeps task definitions that use what the public documentation of Amazon
// ECS shows how to use, typed anew, each with what must come of it: what an agent would ask
// Docker for (NAME.golden, the output of ecs-agent explain), or with which words it is
// refused, by ECS or by the agent.
package corpus

import (
	"embed"
	"io/fs"
	"path"
	"strings"
)

//go:embed definitions
var files embed.FS

// Names lists the definitions.
func Names() []string {
	entries, err := fs.ReadDir(files, "definitions")
	if err != nil {
		return nil // it is embedded
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			names = append(names, name)
		}
	}
	return names
}

// Read returns a definition.
func Read(name string) ([]byte, error) {
	return files.ReadFile(path.Join("definitions", name+".json"))
}
