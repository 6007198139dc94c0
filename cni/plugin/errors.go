package plugin

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
)

// Invalid refuses a configuration: which field, what it holds, and what would be right.
func Invalid(field string, value any, want string) error {
	text, err := json.Marshal(value)
	if err != nil {
		text = fmt.Append(nil, value)
	}
	return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("%s: %s; want %s", field, text, want), "")
}

// TryAgain marks a failure that may pass by itself: a device that is not there yet, a
// lock that is held. The agent repeats the call (docs/spec/05 section 4.4).
func TryAgain(format string, args ...any) error {
	return types.NewError(types.ErrTryAgainLater, fmt.Sprintf(format, args...), "")
}

// Decode reads a configuration. A field of a wrong type is named.
func Decode(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return types.NewError(types.ErrDecodingFailure, "decode the network configuration: "+err.Error(), "")
	}
	return nil
}

// ParseMAC reads an Ethernet address; others, which net.ParseMAC takes too, have no
// place in a VPC.
func ParseMAC(field, text string) (net.HardwareAddr, error) {
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 {
		return nil, Invalid(field, text, "a MAC address such as 06:1f:2e:3d:4c:5b")
	}
	return mac, nil
}

// ParsePrefixes reads addresses with their prefix length; host bits are kept.
func ParsePrefixes(field string, texts []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(texts))
	for i, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().Is4In6() || p.Addr().IsUnspecified() {
			return nil, Invalid(fmt.Sprintf("%s[%d]", field, i), text, "an address with a prefix length such as 10.20.1.37/24")
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// ParseAddresses reads plain addresses.
func ParseAddresses(field string, texts []string) ([]netip.Addr, error) {
	addresses := make([]netip.Addr, 0, len(texts))
	for i, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() {
			return nil, Invalid(fmt.Sprintf("%s[%d]", field, i), text, "an address such as 10.20.1.1")
		}
		addresses = append(addresses, a)
	}
	return addresses, nil
}

// IPNet is a prefix as the CNI result types want it, with the host bits.
func IPNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
