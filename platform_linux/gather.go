package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strings"

	"ecsagent/agent/platform"
)

// family is the value of ecs.os-family on Linux.
const family = "LINUX"

// Gather finds out the facts of this host. It returns what it could find together
// with the errors of the rest; none of them needs to stop the agent.
func Gather(ctx context.Context) (platform.Host, error) {
	return gather(ctx, os.DirFS("/"), exec.LookPath)
}

func gather(ctx context.Context, root fs.FS, lookPath func(string) (string, error)) (platform.Host, error) {
	h := platform.Host{
		OSType: "linux", OSFamily: family, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(),
		Tools: make(map[string]string),
	}
	if err := ctx.Err(); err != nil {
		return h, err
	}
	var failures []error
	data, err := fs.ReadFile(root, "proc/meminfo")
	if err == nil {
		h.MemoryMiB, err = parseMemInfo(data)
	}
	if err != nil {
		failures = append(failures, fmt.Errorf("find the memory size: %w", err))
	}
	h.Kernel = readTrimmed(root, "proc/sys/kernel/osrelease")
	h.OSRelease = osRelease(root)
	h.CgroupVersion = cgroupVersion(root)
	h.SELinux = readTrimmed(root, "sys/fs/selinux/enforce") != ""
	h.AppArmor = strings.EqualFold(readTrimmed(root, "sys/module/apparmor/parameters/enabled"), "y")
	if h.IP, err = ipFamilies(root); err != nil {
		failures = append(failures, err)
	}
	if f, err := root.Open("proc/cpuinfo"); err == nil {
		h.CPUFlags = parseCPUFlags(f)
		f.Close()
	}
	for _, tool := range platform.Tools {
		if found, err := lookPath(tool); err == nil {
			h.Tools[tool] = found
		}
	}
	h.VolumePlugins = volumePlugins(root)
	return h, errors.Join(failures...)
}

func osRelease(root fs.FS) platform.OSRelease {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		if data, err := fs.ReadFile(root, name); err == nil {
			return parseOSRelease(data)
		}
	}
	return platform.OSRelease{}
}

func cgroupVersion(root fs.FS) int {
	switch {
	case exists(root, "sys/fs/cgroup/cgroup.controllers"):
		return 2
	case exists(root, "sys/fs/cgroup/memory") || exists(root, "sys/fs/cgroup/cpu"):
		return 1
	}
	return 0
}

// ipFamilies tolerates a kernel without IPv6, which has no ipv6_route.
func ipFamilies(root fs.FS) (platform.IPFamilies, error) {
	v4, err := fs.ReadFile(root, "proc/net/route")
	if err != nil {
		return platform.IPFamilies{}, fmt.Errorf("find the default routes: %w", err)
	}
	v6, err := fs.ReadFile(root, "proc/net/ipv6_route")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return platform.IPFamilies{}, fmt.Errorf("find the default routes: %w", err)
	}
	return platform.IPFamilies{IPv4: hasDefaultRoute4(v4), IPv6: hasDefaultRoute6(v6)}, nil
}

// volumePlugins lists Docker's legacy volume plugins (docs/spec/03 section 4.4):
// sockets in the run directory, there also as <dir>/<dir>.sock, and .spec and .json
// files elsewhere. Each name appears once, in order of discovery.
func volumePlugins(root fs.FS) []string {
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	const sockets = "run/docker/plugins"
	entries, _ := fs.ReadDir(root, sockets)
	for _, e := range entries {
		name, isSocket := strings.CutSuffix(e.Name(), ".sock")
		switch {
		case e.IsDir() && isSocketFile(root, path.Join(sockets, e.Name(), e.Name()+".sock")):
			add(e.Name())
		case isSocket && isSocketFile(root, path.Join(sockets, e.Name())):
			add(name)
		}
	}
	for _, dir := range []string{"etc/docker/plugins", "usr/lib/docker/plugins"} {
		entries, _ := fs.ReadDir(root, dir)
		for _, e := range entries {
			switch ext := path.Ext(e.Name()); ext {
			case ".spec", ".json":
				add(strings.TrimSuffix(e.Name(), ext))
			}
		}
	}
	return names
}

func isSocketFile(root fs.FS, name string) bool {
	info, err := fs.Stat(root, name)
	return err == nil && info.Mode().Type() == fs.ModeSocket
}

func exists(root fs.FS, name string) bool {
	_, err := fs.Stat(root, name)
	return err == nil
}

func readTrimmed(root fs.FS, name string) string {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
