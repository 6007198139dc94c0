package ipam

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ecsagent/cni/kernel"
)

// scan asks every network namespace of the host, except the one the plugin was started
// in, which addresses of the subnets it has, and returns them by their key with their
// owners. It is for the rare call that finds no database. netns is the namespace of the
// task at hand, which may be where nothing else would be looked for.
func scan(families []family, netns string) (map[string]string, error) {
	found := map[string]string{}
	seen := map[uint64]bool{}
	paths := candidates(netns)
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || seen[st.Ino] {
			continue
		}
		seen[st.Ino] = true
		s, err := kernel.Open(path)
		if err != nil {
			// A process that ended, or the host's own namespace.
			continue
		}
		inNamespace(s, families, found)
		s.Close()
	}
	return found, nil
}

// candidates are the paths under which namespaces may be found, many of them several
// times.
func candidates(netns string) []string {
	var all []string
	patterns := []string{"/proc/[0-9]*/ns/net", "/run/netns/*", "/run/docker/netns/*"}
	if netns != "" {
		all = append(all, netns)
		// Not in /proc, where a file may be anything.
		if dir := filepath.Dir(netns); filepath.IsAbs(dir) && !strings.HasPrefix(dir, "/proc") {
			patterns = append(patterns, filepath.Join(dir, "*"))
		}
	}
	for _, p := range patterns {
		// The patterns are well-formed; a directory that is not there has no files.
		paths, _ := filepath.Glob(p)
		all = append(all, paths...)
	}
	return all
}

// inNamespace adds what one namespace shows. The owner of an address is the MAC of the
// elastic interface beside it.
func inNamespace(s *kernel.Space, families []family, found map[string]string) {
	links, err := s.Links()
	if err != nil {
		return
	}
	addresses, err := s.Addresses(nil)
	if err != nil {
		return
	}
	for _, a := range addresses {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		ip = ip.Unmap()
		for _, f := range families {
			if f.usable(ip) && ip != f.gateway {
				found[key(ip)] = ownerOf(links, a.LinkIndex, ip)
			}
		}
	}
}

// ownerOf is the MAC of the one other interface of the namespace. Where that cannot be
// told the address is still nobody else's.
func ownerOf(links []netlink.Link, index int, ip netip.Addr) string {
	var others []net.HardwareAddr
	for _, l := range links {
		a := l.Attrs()
		if a.Index != index && a.Flags&net.FlagLoopback == 0 && len(a.HardwareAddr) == 6 {
			others = append(others, a.HardwareAddr)
		}
	}
	if len(others) == 1 {
		return others[0].String()
	}
	return "in use as " + ip.String()
}
