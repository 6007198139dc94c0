// Package version says which build this is.
package version

import "fmt"

// Set by the linker: -X ecsagent/agent/version.number=1.2.3 and so on.
var (
	number = "0.0.0"
	commit = "unknown"
	dirty  = ""
)

// Number returns the semantic version.
func Number() string { return number }

// ShortCommit returns the first eight characters of the commit.
func ShortCommit() string { return commit[:min(len(commit), 8)] }

// Commit returns ShortCommit, with a * before it for a modified tree.
func Commit() string {
	if Dirty() {
		return "*" + ShortCommit()
	}
	return ShortCommit()
}

// Dirty reports whether the tree was modified when the build was made.
func Dirty() bool { return dirty == "true" }

// Line is the version as the introspection server and the logs show it
// (docs/spec/03 section 2.1). Monitoring tools parse it.
func Line() string { return fmt.Sprintf("Amazon ECS Agent - v%s (%s)", number, Commit()) }

// Block is what the flag -version prints.
func Block() string {
	block := fmt.Sprintf("Amazon ECS Agent:\n\tVersion: %s\n\tCommit: %s\n", number, ShortCommit())
	if Dirty() {
		block += "\tDirty: true\n"
	}
	return block
}
