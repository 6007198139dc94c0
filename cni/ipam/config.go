package ipam

import (
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"

	"ecsagent/cni/plugin"
)

// config is the ipam block of a network configuration.
type config struct {
	families []family
	// id is the owner of the addresses, the MAC of the task's interface; empty when the
	// configuration has none.
	id     string
	routes []route
}

// family is what is asked for of IPv4 or IPv6.
type family struct {
	subnet  netip.Prefix // masked
	gateway netip.Addr
	fixed   netip.Addr // invalid when any address will do
}

type route struct {
	dst     netip.Prefix
	gateway netip.Addr // invalid when there is none
}

type rawRoute struct {
	Dst string `json:"dst"`
	GW  string `json:"gw"`
}

type rawConfig struct {
	CNIVersion       string               `json:"cniVersion"`
	ValidAttachments []types.GCAttachment `json:"cni.dev/valid-attachments"`
	IPAM             *struct {
		Type        string     `json:"type"`
		ID          string     `json:"id"`
		IPv4Subnet  string     `json:"ipv4-subnet"`
		IPv4Address string     `json:"ipv4-address"`
		IPv4Gateway string     `json:"ipv4-gateway"`
		IPv4Routes  []rawRoute `json:"ipv4-routes"`
		IPv6Subnet  string     `json:"ipv6-subnet"`
		IPv6Address string     `json:"ipv6-address"`
		IPv6Gateway string     `json:"ipv6-gateway"`
		IPv6Routes  []rawRoute `json:"ipv6-routes"`
	} `json:"ipam"`
}

func parse(data []byte) (config, error) {
	var raw rawConfig
	if err := plugin.Decode(data, &raw); err != nil {
		return config{}, err
	}
	if raw.IPAM == nil {
		return config{}, plugin.Invalid("ipam", nil, "an object with ipv4-subnet or ipv6-subnet")
	}
	r := raw.IPAM
	c := config{id: r.ID}
	if c.id == gatewayV4 || c.id == gatewayV6 {
		return config{}, plugin.Invalid("ipam.id", c.id, "another text: this one marks the gateway")
	}
	if r.IPv4Subnet == "" && r.IPv6Subnet == "" {
		return config{}, plugin.Invalid("ipam.ipv4-subnet", "", "a subnet such as 169.254.172.0/22 here or in ipv6-subnet")
	}
	for _, f := range []struct {
		name                     string
		longest                  int
		v4                       bool
		subnet, address, gateway string
		routes                   []rawRoute
	}{
		{"ipam.ipv4-", 30, true, r.IPv4Subnet, r.IPv4Address, r.IPv4Gateway, r.IPv4Routes},
		{"ipam.ipv6-", 126, false, r.IPv6Subnet, r.IPv6Address, r.IPv6Gateway, r.IPv6Routes},
	} {
		routes, err := parseRoutes(f.name+"routes", f.routes, f.v4)
		if err != nil {
			return config{}, err
		}
		c.routes = append(c.routes, routes...)
		if f.subnet == "" {
			if f.address != "" || f.gateway != "" {
				return config{}, plugin.Invalid(f.name+"subnet", "", "the subnet of the address or gateway that is given")
			}
			continue
		}
		one, err := parseFamily(f.name, f.longest, f.v4, f.subnet, f.address, f.gateway)
		if err != nil {
			return config{}, err
		}
		c.families = append(c.families, one)
	}
	return c, nil
}

func parseFamily(name string, longest int, v4 bool, subnet, address, gateway string) (family, error) {
	p, err := netip.ParsePrefix(subnet)
	if err != nil || p.Addr().Is4() != v4 || p.Addr().Is4In6() {
		return family{}, plugin.Invalid(name+"subnet", subnet, "a subnet of that family such as 169.254.172.0/22 or fd00:172::/64")
	}
	if p.Bits() > longest {
		return family{}, plugin.Invalid(name+"subnet", subnet, fmt.Sprintf("a prefix length of at most %d, so that there is an address to give", longest))
	}
	f := family{subnet: p.Masked()}
	// The host bits of the subnet count: 192.0.2.8/24 has its gateway at 192.0.2.9.
	f.gateway = p.Addr().Next()
	if gateway != "" {
		if f.gateway, err = netip.ParseAddr(gateway); err != nil {
			return family{}, plugin.Invalid(name+"gateway", gateway, "an address in "+subnet)
		}
	}
	if !f.usable(f.gateway) {
		return family{}, plugin.Invalid(name+"gateway", f.gateway.String(), "an address in "+f.subnet.String()+", not its first or last")
	}
	if address != "" {
		// With or without a prefix length: the agent's setting has one.
		if f.fixed, err = parseFixed(address); err != nil || !f.usable(f.fixed) || f.fixed == f.gateway {
			return family{}, plugin.Invalid(name+"address", address, "an address in "+f.subnet.String()+", not its first or last and not the gateway")
		}
	}
	return f, nil
}

func parseFixed(text string) (netip.Addr, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Addr(), nil
	}
	return netip.ParseAddr(text)
}

func parseRoutes(field string, raw []rawRoute, v4 bool) ([]route, error) {
	var routes []route
	for i, r := range raw {
		dst, err := netip.ParsePrefix(r.Dst)
		if err != nil || dst.Addr().Is4() != v4 || dst.Addr().Is4In6() {
			return nil, plugin.Invalid(fmt.Sprintf("%s[%d].dst", field, i), r.Dst, "a destination of that family such as 169.254.170.2/32")
		}
		one := route{dst: dst.Masked()}
		if r.GW != "" {
			one.gateway, err = netip.ParseAddr(r.GW)
			if err != nil || one.gateway.Is4() != v4 || one.gateway.Is4In6() || one.gateway.Zone() != "" {
				return nil, plugin.Invalid(fmt.Sprintf("%s[%d].gw", field, i), r.GW, "an address of that family")
			}
		}
		routes = append(routes, one)
	}
	return routes, nil
}

// usable reports whether a task or the gateway may have an address: it is in the subnet,
// and neither names the subnet nor everybody in it.
func (f family) usable(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && f.subnet.Contains(a) && a != f.subnet.Addr() && (a.Is6() || a != f.broadcast())
}

// broadcast is the last address of the subnet.
func (f family) broadcast() netip.Addr {
	b := f.subnet.Addr().AsSlice()
	for bit := f.subnet.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
