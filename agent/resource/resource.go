// Package resource says what the makers of tasks' resources, which are below it, give
// to the engine (docs/architecture.md, "How to add a resource").
package resource

import (
	"path/filepath"
	"strings"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/task"
)

// Provided is what a resource gives to the containers that need it.
type Provided struct {
	Shared dockerspec.Inputs            // for all of them
	Inputs map[string]dockerspec.Inputs // by container's name, over Shared
	Agents map[string]task.AgentSetup   // exec agents, by container's name
	// Data is remembered durably for the clean-up, unless nil. It is never secret.
	Data map[string]string
}

// AddTo adds to the inputs of a container what is for it.
func (p *Provided) AddTo(in *dockerspec.Inputs, container string) {
	in.Add(&p.Shared)
	if own, ok := p.Inputs[container]; ok {
		in.Add(&own)
	}
}

// IsElement reports whether a word names a file in a folder, on every operating system,
// and leads nowhere else.
func IsElement(word string) bool {
	return word != "" && word != "." && word != ".." && !strings.ContainsAny(word, `/\:`) && filepath.IsLocal(word)
}
