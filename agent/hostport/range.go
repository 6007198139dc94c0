package hostport

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Range is a range of ports, both ends included.
type Range struct{ First, Last uint16 }

// String renders the range as settings and ECS write it.
func (r Range) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Size is the number of ports in the range.
func (r Range) Size() int { return int(r.Last) - int(r.First) + 1 }

// ParseRange reads "8000-8010". Port 0 is no port.
func ParseRange(text string) (Range, error) {
	low, high, ok := strings.Cut(text, "-")
	if !ok {
		return Range{}, fmt.Errorf("port range %q is not of the form first-last", text)
	}
	first, err := parsePort(low)
	if err != nil {
		return Range{}, err
	}
	last, err := parsePort(high)
	if err != nil {
		return Range{}, err
	}
	if first > last {
		return Range{}, fmt.Errorf("port range %q ends before it begins", text)
	}
	return Range{first, last}, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err == nil && n == 0 {
		err = errors.New("port 0 is no port")
	}
	return uint16(n), err
}

// kernelRangeFile is where Linux keeps the range of ports it gives to programs
// that do not care.
const kernelRangeFile = "/proc/sys/net/ipv4/ip_local_port_range"

// DefaultRange is the range when none is configured: the kernel's on Linux, else
// the specified one. read is os.ReadFile.
func DefaultRange(goos string, read func(string) ([]byte, error)) Range {
	if goos == "windows" {
		return Range{49152, 65535}
	}
	fallback := Range{49153, 65535}
	text, err := read(kernelRangeFile)
	if err != nil {
		return fallback
	}
	r, err := ParseRange(strings.Join(strings.Fields(string(text)), "-"))
	if err != nil {
		return fallback
	}
	return r
}
