package eni

import (
	"net"
	"net/netip"
)

// Interface is what an interface has to look like inside the task.
type Interface struct {
	Name      string
	MAC       net.HardwareAddr
	Addresses []netip.Prefix
	Gateways  []netip.Addr
	// MTU is kept as the driver has it when 0.
	MTU int
	// BlockMetadata makes the instance's metadata unreachable.
	BlockMetadata bool
}

// Metadata are the addresses of the instance metadata service.
func Metadata() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("169.254.169.254/32"), netip.MustParsePrefix("fd00:ec2::254/128")}
}

// HostName is the name that an interface has after it came back to the host: "ecs" and
// the last five bytes of its MAC address, which fits the kernel's 15 bytes and is its
// own for each of an instance's interfaces.
func HostName(mac net.HardwareAddr) string {
	const digits = "0123456789abcdef"
	name := []byte("ecs")
	for _, b := range mac[max(0, len(mac)-5):] {
		name = append(name, digits[b>>4], digits[b&15])
	}
	return string(name)
}
