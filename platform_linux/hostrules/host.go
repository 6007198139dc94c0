package hostrules

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Host is what the plan takes from the host's network, as it is now.
type Host struct {
	Uplinks      []string // interfaces of the default routes, sorted
	DefaultRoute bool     // there is one for IPv4, with a gateway
	IPv6         bool
}

// Look reads /proc below a root. What cannot be read is not there.
func Look(root fs.FS) (h Host) {
	if text, err := fs.ReadFile(root, "proc/net/route"); err == nil {
		uplinks, gateway := defaultRoutes4(string(text))
		h.Uplinks, h.DefaultRoute = uplinks, gateway
	}
	if text, err := fs.ReadFile(root, "proc/net/ipv6_route"); err == nil {
		h.Uplinks = append(h.Uplinks, defaultRoutes6(string(text))...)
	}
	slices.Sort(h.Uplinks)
	h.Uplinks = slices.Compact(h.Uplinks)
	_, err := fs.Stat(root, "proc/sys/net/ipv6")
	h.IPv6 = err == nil
	return h
}

// defaultRoutes4 reads /proc/net/route: interface, destination, gateway, flags, …,
// mask in the eighth column.
func defaultRoutes4(text string) (interfaces []string, gateway bool) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		interfaces = append(interfaces, f[0])
		gateway = gateway || f[2] != "00000000"
	}
	return interfaces, gateway
}

// taskRoute reads /proc/net/route and reports whether 169.254.170.2 leads over a
// device. Addresses are numbers in the byte order of the machine.
func taskRoute(text, device string) bool {
	address := taskAddress.As4()
	want := fmt.Sprintf("%08X", binary.NativeEndian.Uint32(address[:]))
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) >= 8 && f[0] == device && f[1] == want && f[7] == "FFFFFFFF" {
			return true
		}
	}
	return false
}

// defaultRoutes6 reads /proc/net/ipv6_route. Default routes over loopback are the
// kernel's own way to say that there is none.
func defaultRoutes6(text string) (interfaces []string) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 10 && strings.Trim(f[0], "0") == "" && f[1] == "00" && f[9] != Loopback {
			interfaces = append(interfaces, f[9])
		}
	}
	return interfaces
}
