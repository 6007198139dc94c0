package execcmd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What is installed below the folder of ECS Exec.
const (
	binFolder    = "bin"
	configFolder = "config"
	certsFolder  = "certs"
	bundle       = "tls-ca-bundle.pem"
)

// programs are those of the SSM agent; the first starts the others.
var programs = []string{"amazon-ssm-agent", "ssm-agent-worker", "ssm-session-worker"}

func programFile(os, name string) string {
	if os == windows {
		return name + ".exe"
	}
	return name
}

const windows = "windows"

// newest is the folder of the newest version that is whole.
func newest(dir, osType string) (string, error) {
	bin := filepath.Join(dir, binFolder)
	entries, err := os.ReadDir(bin)
	if err != nil {
		return "", fmt.Errorf("look for the SSM agent: %w", err)
	}
	type version struct {
		name  string
		parts []uint64
	}
	var found []version
	for _, e := range entries {
		if parts := parseVersion(e.Name()); parts != nil {
			found = append(found, version{e.Name(), parts})
		}
	}
	slices.SortFunc(found, func(a, b version) int { return compareVersions(b.parts, a.parts) })
	for _, v := range found {
		folder := filepath.Join(bin, v.name)
		whole := !slices.ContainsFunc(programs, func(name string) bool {
			info, err := os.Stat(filepath.Join(folder, programFile(osType, name)))
			return err != nil || !info.Mode().IsRegular()
		})
		if whole {
			return folder, nil
		}
	}
	return "", fmt.Errorf("no valid versions were found in %s", bin)
}

// parseVersion reads 3.3.40.0; nil for other words.
func parseVersion(word string) (parts []uint64) {
	for part := range strings.SplitSeq(word, ".") {
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil || part[0] == '+' {
			return nil
		}
		parts = append(parts, n)
	}
	return parts
}

// compareVersions takes parts that are missing for 0.
func compareVersions(a, b []uint64) int {
	for i := range max(len(a), len(b)) {
		var x, y uint64
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return cmp.Compare(x, y)
		}
	}
	return 0
}

// Installed reports whether the files of ECS Exec are there: the SSM agent in some
// version, and on Linux the certificates. It is an error when there are some and not all;
// nothing at all is none.
func Installed(dir, osType string) (bool, error) {
	if _, err := os.Stat(filepath.Join(dir, binFolder)); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if _, err := newest(dir, osType); err != nil {
		return false, err
	}
	if osType == windows {
		for _, name := range []string{"SessionManagerShell", "awsDomainJoin"} {
			if _, err := os.Stat(filepath.Join(windowsPlugins, name)); err != nil {
				return false, fmt.Errorf("look for the SSM agent's plugins: %w", err)
			}
		}
		return true, nil
	}
	if err := certificates(dir); err != nil {
		return false, err
	}
	return true, nil
}

func certificates(dir string) error {
	if info, err := os.Stat(filepath.Join(dir, certsFolder, bundle)); err != nil || !info.Mode().IsRegular() {
		return errors.New("could not find certs")
	}
	return nil
}
