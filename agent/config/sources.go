package config

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// maxFileBytes bounds every configuration document. EC2 user data is at most 16
// KiB; a larger file is a mistake, not a configuration.
const maxFileBytes = 1 << 20

// IMDS is the instance metadata as configuration needs it.
type IMDS interface {
	// UserData returns the instance's user data; nil when it has none.
	UserData(ctx context.Context) ([]byte, error)
	// Region returns the region of the instance identity document, or of
	// placement/region where there is no document.
	Region(ctx context.Context) (string, error)
}

// Flags are the command line's part of the configuration (docs/spec/03 section
// 2.1). Empty strings are flags that were not given.
type Flags struct {
	ConfigFile         string // env file in place of ECS_CONFIG_FILE
	AcceptInsecure     bool   // -k
	BlackholeIMDS      bool   // -blackhole-ec2-metadata
	LogLevel           string // -loglevel; wins over the next two
	LogLevelDriver     string // -loglevel-driver
	LogLevelOnInstance string // -loglevel-on-instance
}

// Sources is where Load looks. All of it is given, nothing is read from the
// process, so that any machine can be described in a test.
type Sources struct {
	GOOS     string   // "linux" or "windows"
	Environ  []string // NAME=VALUE, as os.Environ
	ReadFile func(path string) ([]byte, error)
	Exists   func(path string) bool // file or directory
	IMDS     IMDS                   // nil: no instance metadata
	Flags    Flags

	// IPv6Only reports whether the host's default routes are IPv6 only
	// (docs/spec/03 section 7.4). Nil means no.
	IPv6Only func() bool

	// TrustedOwner reports whether a file belongs to the Administrators group or the
	// system. On Windows the default files are used only then (section 1.6); nil means
	// no.
	TrustedOwner func(path string) bool
}

// System describes this process and this machine, without instance metadata.
func System() Sources {
	return Sources{
		GOOS:     runtime.GOOS,
		Environ:  os.Environ(),
		ReadFile: readLimited,
		Exists: func(path string) bool {
			_, err := os.Stat(path)
			return err == nil
		},
		TrustedOwner: trustedOwner,
	}
}

// readLimited reads a file, one byte past the limit at most, so that a mistaken
// path such as a log or a device cannot fill the memory.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("read %s: is a directory", path)
	}
	return io.ReadAll(io.LimitReader(f, maxFileBytes+1))
}

// environ is the process environment as a lookup; names are matched without regard
// to case on Windows, as Windows does.
type environ struct {
	foldCase bool
	values   map[string]string
	names    []string // as written, first occurrence, in order
}

func newEnviron(list []string, goos string) environ {
	e := environ{foldCase: goos == "windows", values: make(map[string]string, len(list))}
	for _, item := range list {
		// Windows has hidden variables whose names begin with '='.
		name, value, ok := strings.Cut(item, "=")
		if !ok || name == "" {
			continue
		}
		if _, dup := e.values[e.key(name)]; dup {
			continue
		}
		e.values[e.key(name)] = value
		e.names = append(e.names, name)
	}
	return e
}

func (e environ) key(name string) string {
	if e.foldCase {
		return strings.ToUpper(name)
	}
	return name
}

func (e environ) get(name string) string { return e.values[e.key(name)] }
