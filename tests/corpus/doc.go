// Package corpus keeps task definitions that use what the public documentation of Amazon
// ECS shows how to use, typed anew, each with what must come of it: what an agent would ask
// Docker for (NAME.golden, the output of ecs-agent explain), or with which words it is
// refused, by ECS or by the agent.
//
// The definitions of Runs are run on a real Docker engine too (tests/e2e, TestCorpus), with
// busybox under the names of their images.
package corpus

import (
	"embed"
	"io/fs"
	"path"
	"strings"
)

//go:embed definitions
var files embed.FS

// Registry is the one that the images of the definitions are in; it does not exist, and a
// run puts its own in its place.
const Registry = "registry.test/"

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

// Run is a definition that runs where busybox is all there is.
type Run struct {
	Name string
	// Ends says that its containers end by themselves; else they run until they are stopped.
	Ends bool
	// Says is what container Of prints, when it ends.
	Of, Says string
}

// Runs lists the definitions that are run.
var Runs = []Run{
	{Name: "web-server"},
	{Name: "entry-point", Ends: true, Of: "ping", Says: "4 packets received"},
	{Name: "entry-point-empty", Ends: true, Of: "app", Says: "hello"},
	{Name: "depends-on"},
	{Name: "health-check"},
	{Name: "linux-parameters"},
	{Name: "restart-policy"},
	{Name: "secrets"},
	{Name: "task-limits"},
	{Name: "volume-docker"},
	{Name: "x-ray-sidecar"},
}
