package app

import (
	"os"
	"strconv"

	"ecsagent/agent/credentials/keep"
	linux "ecsagent/platform_linux"
)

// inheritedFiles are the descriptors that the service manager passed to this process.
func inheritedFiles() map[string]*os.File { return linux.Inherited(os.Getenv, os.Getpid()) }

// credentialPlace is the memory that keeps credentials over a restart: the service
// manager's descriptor store where it has room for us, otherwise a file on a file
// system in memory. It is nil where they are not to be kept.
func credentialPlace(dir string, getenv func(string) string, inherited map[string]*os.File) (keep.Place, error) {
	if dir == "off" || dir == "" {
		return nil, nil
	}
	if room, err := strconv.Atoi(getenv("FDSTORE")); err == nil && room >= 2 && getenv("NOTIFY_SOCKET") != "" {
		store, err := linux.OpenDescriptorStore(getenv("NOTIFY_SOCKET"), inheritedCredentials, inherited)
		if err != nil {
			return nil, err
		}
		return store, nil
	}
	file, err := linux.OpenMemoryFile(dir, "credentials.json")
	if err != nil {
		return nil, err
	}
	return file, nil
}
