package app

import (
	"os"

	"ecsagent/agent/credentials/keep"
)

// inheritedFiles: Windows passes no sockets to services.
func inheritedFiles() map[string]*os.File { return nil }

// credentialPlace: Windows has no file system in memory that outlives a process.
func credentialPlace(string, func(string) string, map[string]*os.File) (keep.Place, error) {
	return nil, nil
}
