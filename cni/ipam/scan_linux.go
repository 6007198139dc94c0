package ipam

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ecsagent/cni/kernel"
)

// scan asks every network namespace of the host, except the one the plugin was started
// in, which addresses of the subnets it has on a link that leads here, and returns them
// by their key with their owners. It is for the rare call that finds no database. netns
// is the namespace of the task at hand, which may be where nothing else would be looked
// for.
func scan(families []family, netns string) (map[string]string, error) {
	host, err := kernel.Host()
	if err != nil {
		return nil, err
	}
	defer host.Close()
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
		inNamespace(s, host, families, found)
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
// elastic interface beside it. Where another agent lives in a namespace of its own, its
// tasks are on its bridge, and their addresses are free here.
func inNamespace(s, host *kernel.Space, families []family, found map[string]string) {
	here, err := s.GetNetNsIdByFd(host.FD())
	if err != nil || here < 0 {
		return // no link of this namespace leads to the host's
	}
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
		if !ok || !leadsTo(links, a.LinkIndex, here) {
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

// leadsTo reports whether the other end of a link is in the namespace of an id.
func leadsTo(links []netlink.Link, index, netns int) bool {
	return slices.ContainsFunc(links, func(l netlink.Link) bool {
		a := l.Attrs()
		return a.Index == index && a.NetNsID == netns
	})
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
