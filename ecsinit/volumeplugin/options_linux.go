package volumeplugin

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// types are the kinds of file systems; a volume without one is whatever mount finds.
var types = []string{"", "efs", "s3files"}

// Options of a volume.
const (
	optType   = "type"
	optDevice = "device"
	optMount  = "o"
	optTarget = "target"
)

// validName is what Docker lets a volume be called; such a name is one element of a path.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

func checkName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("volume name is %q: want letters, digits, _, . and -, a letter or digit first", name)
	}
	return nil
}

func checkID(id string) error {
	if id == "" {
		return errors.New("ID is empty: want the id of the mount")
	}
	return nil
}

// checkOptions refuses what mount would not understand, or understand as something else.
func checkOptions(options map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		value := options[name]
		switch name {
		case optType:
			if !slices.Contains(types, value) {
				return fmt.Errorf("option type is %q: want efs or s3files", value)
			}
		case optDevice:
			if strings.HasPrefix(value, "-") {
				return fmt.Errorf("option device is %q: want the id of a file system, with :/FOLDER after it if need be", value)
			}
		case optTarget:
			if !filepath.IsAbs(value) {
				return fmt.Errorf("option target is %q: want an absolute path", value)
			}
		case optMount:
		default:
			return fmt.Errorf("no such option: %q; want type, device, o or target", name)
		}
		if strings.ContainsRune(value, 0) {
			return fmt.Errorf("option %s is %q: it has a zero byte in it", name, value)
		}
	}
	if options[optDevice] == "" {
		return errors.New("option device is absent: want the id of a file system, with :/FOLDER after it if need be")
	}
	return nil
}
