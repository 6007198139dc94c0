package linux

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// VLANs reports why the host cannot make VLAN devices, which branch network interfaces
// are; nil when it can. The kernel loads what it has of them when the first one is made.
func VLANs(root fs.FS) error { return module(root, "8021q") }

// module reports why a kernel module is neither loaded, nor built in, nor there to be
// loaded.
func module(root fs.FS, name string) error {
	if _, err := fs.Stat(root, path.Join("sys/module", name)); err == nil {
		return nil
	}
	release, err := fs.ReadFile(root, "proc/sys/kernel/osrelease")
	if err != nil {
		return fmt.Errorf("find the kernel's modules: %w", err)
	}
	for _, list := range []string{"modules.builtin", "modules.dep"} {
		file := path.Join("lib/modules", strings.TrimSpace(string(release)), list)
		found, err := lists(root, file, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("find the kernel's modules: %w", err)
		}
		if found {
			return nil
		}
	}
	return fmt.Errorf("the kernel has no module %s", name)
}

// lists reports whether a list of modules, one a line, has one of the name.
func lists(root fs.FS, file, name string) (bool, error) {
	f, err := root.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// kernel/net/8021q/8021q.ko.xz: kernel/net/802/mrp.ko.xz
		of, _, _ := strings.Cut(lines.Text(), ":")
		if base, _, _ := strings.Cut(path.Base(of), ".ko"); base == name {
			return true, nil
		}
	}
	return false, lines.Err()
}
