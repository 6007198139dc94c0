// Package version says which build this is.
package version

import (
	"fmt"
	"strings"
)

// Set by the linker: -X ecsagent/agent/version.number=1.2.3 and so on.
var (
	number = "0.0.0"
	commit = "unknown"
	dirty  = ""
)

// Number returns the semantic version.
func Number() string { return number }

// Commit returns the first eight characters of the commit, with a * before them for
// a modified tree.
func Commit() string {
	short := commit
	if len(short) > 8 {
		short = short[:8]
	}
	if Dirty() {
		return "*" + short
	}
	return short
}

// Dirty reports whether the tree was modified when the build was made.
func Dirty() bool { return dirty == "true" }

// Line is the version as the introspection server and the logs show it
// (docs/spec/03 section 2.1). Monitoring tools parse it.
func Line() string { return fmt.Sprintf("Amazon ECS Agent - v%s (%s)", number, Commit()) }

// Block is what the flag -version prints.
func Block() string {
	block := fmt.Sprintf("Amazon ECS Agent:\n\tVersion: %s\n\tCommit: %s\n", number, strings.TrimPrefix(Commit(), "*"))
	if Dirty() {
		block += "\tDirty: true\n"
	}
	return block
}

// UserAgent is the User-Agent of calls to AWS (docs/spec/01 section 1.1).
func UserAgent(osType, osFamily string) string {
	system := osType
	if osFamily != "" {
		system += "; " + osFamily
	}
	return fmt.Sprintf("%s (%s) (+http://aws.amazon.com/ecs/)", Line(), system)
}
