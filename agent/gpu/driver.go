package gpu

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// OfDriver reads what the driver says in /proc of a file system, once a device was opened.
// Its folders are named by PCI address, which
// is the order of the driver's own count.
func OfDriver(root fs.FS) (info Info, err error) {
	const driver = "proc/driver/nvidia"
	text, err := fs.ReadFile(root, driver+"/version")
	if err != nil {
		return Info{}, fmt.Errorf("read the driver's version: %w", err)
	}
	if info.DriverVersion = driverVersion(string(text)); info.DriverVersion == "" {
		return Info{}, fmt.Errorf("/%s/version names no version: %q", driver, text)
	}
	files, _ := fs.Glob(root, driver+"/gpus/*/information") // the pattern is well-formed
	slices.Sort(files)
	for _, name := range files {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			continue // a device that fails is passed over
		}
		for line := range strings.Lines(string(text)) {
			key, id, _ := strings.Cut(line, ":")
			if id = strings.TrimSpace(id); strings.TrimSpace(key) == "GPU UUID" && IsID(id) && !slices.Contains(info.GPUIDs, id) {
				info.GPUIDs = append(info.GPUIDs, id)
			}
		}
	}
	if len(info.GPUIDs) == 0 {
		return Info{}, fmt.Errorf("/%s/gpus names no GPU", driver)
	}
	return info, nil
}

// driverVersion is the first word of numbers and dots in the line of the kernel module.
func driverVersion(text string) string {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "NVRM version:") {
			continue
		}
		for _, word := range strings.Fields(line) {
			if strings.Contains(word, ".") && strings.Trim(word, "0123456789.") == "" {
				return word
			}
		}
	}
	return ""
}

// IsID tells a UUID from what stands for an unknown one: GPU-????????-….
func IsID(s string) bool {
	return strings.HasPrefix(s, "GPU-") && len(s) > len("GPU-") && !strings.ContainsAny(s, "? \t")
}
