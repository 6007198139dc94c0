package bridge

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"ecsagent/cni/plugin"
)

type config struct {
	version string
	bridge  string
	mtu     int
	ipam    string // the plugin that hands out addresses; empty on a DEL that keeps them
}

// The bridge has the MTU of Ethernet if the configuration names none.
const defaultMTU = 1500

func parse(data []byte) (config, error) {
	var raw struct {
		CNIVersion string `json:"cniVersion"`
		Bridge     string `json:"bridge"`
		MTU        int    `json:"mtu"`
		IPAM       struct {
			Type string `json:"type"`
		} `json:"ipam"`
	}
	if err := plugin.Decode(data, &raw); err != nil {
		return config{}, err
	}
	if !validName(raw.Bridge) {
		return config{}, plugin.Invalid("bridge", raw.Bridge, "the name of a bridge, of at most 15 bytes, such as ecs-bridge")
	}
	if raw.MTU < 0 || raw.MTU > 65535 || raw.MTU > 0 && raw.MTU < 68 {
		return config{}, plugin.Invalid("mtu", raw.MTU, "0 for 1500, or 68 to 65535")
	}
	c := config{version: raw.CNIVersion, bridge: raw.Bridge, mtu: raw.MTU, ipam: raw.IPAM.Type}
	if c.mtu == 0 {
		c.mtu = defaultMTU
	}
	return c, nil
}

// validName reports whether the kernel takes a name.
func validName(name string) bool {
	if name == "" || len(name) > 15 || name == "." || name == ".." {
		return false
	}
	for _, b := range []byte(name) {
		if b <= ' ' || b == '/' || b == ':' || b >= 0x7f {
			return false
		}
	}
	return true
}

// plan is what the task's end of the pair has to look like.
type plan struct {
	mac       net.HardwareAddr // nil to keep the kernel's
	addresses []netip.Prefix
	gateways  []netip.Addr // as addresses
	routes    []route
}

type route struct {
	dst     netip.Prefix
	gateway netip.Addr
}

// newPlan reads what the IPAM plugin gave: each address has a gateway, which is the
// bridge itself. The routes of the result become what the task is to have: the given
// ones, via their gateway or their family's, and one to each gateway via itself, which
// stays when the subnet's own route is removed.
func newPlan(result *current.Result) (plan, error) {
	var p plan
	if n := len(result.IPs); n < 1 || n > 2 {
		return plan{}, types.NewError(types.ErrInternal, fmt.Sprintf("the IPAM plugin gave %d addresses; want 1 or 2", n), "")
	}
	byFamily := map[bool]netip.Addr{}
	for _, ip := range result.IPs {
		a, ok := netip.AddrFromSlice(ip.Address.IP)
		ones, bits := ip.Address.Mask.Size()
		if a = a.Unmap(); !ok || bits != a.BitLen() {
			return plan{}, types.NewError(types.ErrInternal, fmt.Sprintf("the IPAM plugin gave address %s without a mask of its family", ip.Address.String()), "")
		}
		address := netip.PrefixFrom(a, ones)
		gateway, ok := netip.AddrFromSlice(ip.Gateway)
		if gateway = gateway.Unmap(); !ok || !address.Contains(gateway) {
			return plan{}, types.NewError(types.ErrInternal, fmt.Sprintf("the IPAM plugin gave address %s with gateway %q; want one in that subnet", address, ip.Gateway), "")
		}
		if _, twice := byFamily[a.Is4()]; twice {
			return plan{}, types.NewError(types.ErrInternal, fmt.Sprintf("the IPAM plugin gave a second address %s of one family", address), "")
		}
		byFamily[a.Is4()] = gateway
		p.addresses = append(p.addresses, address)
		p.gateways = append(p.gateways, gateway)
		if a.Is4() {
			p.mac = append(net.HardwareAddr{0x0a, 0x58}, a.AsSlice()...)
		}
	}
	for i, gateway := range p.gateways {
		result.Routes = append(result.Routes, &types.Route{
			Dst: plugin.IPNet(netip.PrefixFrom(gateway, gateway.BitLen())), GW: p.gateways[i].AsSlice(),
		})
	}
	for _, r := range result.Routes {
		dst, ok := netip.AddrFromSlice(r.Dst.IP)
		ones, bits := r.Dst.Mask.Size()
		if dst = dst.Unmap(); !ok || bits != dst.BitLen() {
			return plan{}, types.NewError(types.ErrInternal, fmt.Sprintf("the IPAM plugin gave route %s without a mask of its family", r.Dst.String()), "")
		}
		one := route{dst: netip.PrefixFrom(dst, ones)}
		if one.gateway, ok = netip.AddrFromSlice(r.GW); ok {
			one.gateway = one.gateway.Unmap()
		} else if one.gateway, ok = byFamily[dst.Is4()]; !ok {
			return plan{}, types.NewError(types.ErrInternal, fmt.Sprintf("route %s has no gateway, and no address of its family was given", r.Dst.String()), "")
		}
		p.routes = append(p.routes, one)
	}
	return p, nil
}
