// Package platform holds the facts of the host that the agent decides by. They are
// gathered by platform_linux and platform_windows, once, at start.
package platform

import "strings"

// Host is what is known of this host. The zero value of a field means that the
// fact could not be found out.
type Host struct {
	OSType string // linux or windows, the value of ecs.os-type
	// OSFamily is LINUX, WINDOWS_SERVER_<release>_<FULL|CORE>, or windows when the
	// release is not known.
	OSFamily string
	Arch     string // as in runtime.GOARCH
	CPUs     int    // logical CPUs visible to this process
	// MemoryMiB is the physical memory, rounded down.
	MemoryMiB int64
	Kernel    string // release of the kernel, or the build of Windows
	OSRelease OSRelease
	// CgroupVersion is 1 or 2; 0 where there are no cgroups.
	CgroupVersion int
	SELinux       bool // the kernel enforces or logs SELinux policy
	AppArmor      bool
	IP            IPFamilies
	CPUFlags      []string          // as in /proc/cpuinfo
	Tools         map[string]string // program name to path, those of Tools that were found
	// VolumePlugins are the Docker volume plugins found as sockets and spec files.
	VolumePlugins []string
}

// OSRelease is what /etc/os-release says.
type OSRelease struct {
	ID         string // such as amzn
	VersionID  string // such as 2023
	PrettyName string
}

// Detailed is the detailed OS family that the supervisor derives, such as
// amzn_2023; "linux" when the release is not known (docs/spec/03 section 1.10.1).
func (r OSRelease) Detailed() string {
	if r.ID == "" || r.VersionID == "" {
		return "linux"
	}
	return r.ID + "_" + r.VersionID
}

// IPFamilies says which families have a default route.
type IPFamilies struct{ IPv4, IPv6 bool }

// IPv6Only reports whether the host reaches the world by IPv6 alone. Without any
// default route it is taken for an IPv4 host (docs/spec/03 section 7.4). compat is
// ECS_INSTANCE_IP_COMPATIBILITY: "ipv4" and "ipv6" decide, other words do not.
func (f IPFamilies) IPv6Only(compat string) bool {
	switch strings.ToLower(strings.TrimSpace(compat)) {
	case "ipv4":
		return false
	case "ipv6":
		return true
	}
	return f.IPv6 && !f.IPv4
}

// Tools are the programs that features of the agent look for.
var Tools = []string{"iptables", "ip6tables", "nft", "tc", "nsenter", "modinfo", "lsblk"}

// Architecture returns the value of ecs.cpu-architecture for a GOARCH.
func Architecture(goarch string) string {
	switch goarch {
	case "amd64":
		return "x86_64"
	case "386":
		return "i386"
	}
	return goarch
}
