package linux

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"ecsagent/agent/platform"
)

// Flags of /proc/net/route and /proc/net/ipv6_route.
const (
	routeUp     = 0x1
	routeReject = 0x200
)

// parseMemInfo returns the physical memory in MiB from /proc/meminfo.
func parseMemInfo(data []byte) (int64, error) {
	for line := range strings.Lines(string(data)) {
		rest, found := strings.CutPrefix(line, "MemTotal:")
		if !found {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) != 2 || fields[1] != "kB" {
			return 0, fmt.Errorf("read MemTotal %q: want a number of kB", strings.TrimSpace(rest))
		}
		kib, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil || kib < 0 {
			return 0, fmt.Errorf("read MemTotal %q: want a number of kB", strings.TrimSpace(rest))
		}
		return kib / 1024, nil
	}
	return 0, errors.New("read the memory size: no MemTotal")
}

// parseOSRelease reads os-release(5): KEY=value lines whose value may be quoted as
// a shell would.
func parseOSRelease(data []byte) platform.OSRelease {
	var r platform.OSRelease
	for line := range strings.Lines(string(data)) {
		key, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if !found || strings.HasPrefix(key, "#") {
			continue
		}
		switch key {
		case "ID":
			r.ID = unquote(value)
		case "VERSION_ID":
			r.VersionID = unquote(value)
		case "PRETTY_NAME":
			r.PrettyName = unquote(value)
		}
	}
	return r
}

func unquote(v string) string {
	if len(v) < 2 || v[0] != v[len(v)-1] || v[0] != '"' && v[0] != '\'' {
		return v
	}
	quote, inner := v[0], v[1:len(v)-1]
	if quote == '\'' {
		return inner
	}
	var out strings.Builder
	for i := 0; i < len(inner); i++ {
		if inner[i] == '\\' && i+1 < len(inner) && strings.IndexByte("\"\\$`", inner[i+1]) >= 0 {
			i++
		}
		out.WriteByte(inner[i])
	}
	return out.String()
}

// parseCPUFlags returns the feature flags of the first processor in /proc/cpuinfo
// and reads no further: a big host repeats them hundreds of times.
func parseCPUFlags(r io.Reader) []string {
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		key, value, _ := bytes.Cut(scanner.Bytes(), []byte(":"))
		switch string(bytes.TrimSpace(key)) {
		case "flags", "Features":
			return strings.Fields(string(value))
		}
	}
	return nil
}

// hasDefaultRoute4 looks for a usable default route in /proc/net/route, which shows
// the main table. A route without a gateway counts too (docs/spec/03 chapter 8, 13).
func hasDefaultRoute4(data []byte) bool {
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line) // Iface Destination Gateway Flags RefCnt Use Metric Mask ...
		if len(f) < 8 || f[0] == "lo" || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		if usable(f[3]) {
			return true
		}
	}
	return false
}

// hasDefaultRoute6 looks for a usable default route in /proc/net/ipv6_route. The
// kernel's own catch-all entry is rejecting and on lo.
func hasDefaultRoute6(data []byte) bool {
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line) // dest destlen src srclen nexthop metric refcnt use flags device
		if len(f) < 10 || f[9] == "lo" || f[1] != "00" || strings.Trim(f[0], "0") != "" || f[3] != "00" {
			continue
		}
		if usable(f[8]) {
			return true
		}
	}
	return false
}

func usable(flags string) bool {
	n, err := strconv.ParseUint(flags, 16, 32)
	return err == nil && n&routeUp != 0 && n&routeReject == 0
}
