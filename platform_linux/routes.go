package linux

import (
	"bufio"
	"bytes"
	"io/fs"
	"strconv"
	"strings"
)

// DefaultDevices lists the devices of the IPv4 and the IPv6 default route with the
// lowest metric, without repetition; root is the file system. A default route has a
// gateway.
func DefaultDevices(root fs.FS) (devices []string, err error) {
	for _, f := range []struct {
		path string
		read func([]byte) string
	}{{"proc/net/route", defaultDevice4}, {"proc/net/ipv6_route", defaultDevice6}} {
		data, readErr := fs.ReadFile(root, f.path)
		if readErr != nil {
			if f.path == "proc/net/route" {
				err = readErr
			}
			continue // a host without IPv6
		}
		if d := f.read(data); d != "" && (len(devices) == 0 || devices[0] != d) {
			devices = append(devices, d)
		}
	}
	if len(devices) > 0 {
		return devices, nil
	}
	return nil, err
}

// routeFlags of the kernel.
const (
	flagUp      = 0x1
	flagGateway = 0x2
)

func usableGateway(flags string) bool {
	n, err := strconv.ParseUint(flags, 16, 32)
	return err == nil && n&flagUp != 0 && n&flagGateway != 0
}

// defaultDevice4 reads /proc/net/route: device, destination, gateway, flags, three
// counters of which the last is the metric, mask.
func defaultDevice4(data []byte) (device string) {
	best := uint64(1 << 63)
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" || !usableGateway(f[3]) {
			continue
		}
		if metric, err := strconv.ParseUint(f[6], 10, 32); err == nil && metric < best {
			best, device = metric, f[0]
		}
	}
	return device
}

// defaultDevice6 reads /proc/net/ipv6_route: destination, its prefix length, source, its
// prefix length, gateway, metric, two counters, flags, device; all in hexadecimal.
func defaultDevice6(data []byte) (device string) {
	best := uint64(1 << 63)
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || strings.Trim(f[0], "0") != "" || f[1] != "00" || !usableGateway(f[8]) {
			continue
		}
		if metric, err := strconv.ParseUint(f[5], 16, 32); err == nil && metric < best {
			best, device = metric, f[9]
		}
	}
	return device
}
