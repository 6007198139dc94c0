package serviceconnect

import (
	"fmt"
	"net/netip"
	"slices"

	"ecsagent/cni/plugin"
	"ecsagent/cni/proxyrules"
)

type config struct {
	version  string
	families []family
}

// family is what is wanted of IPv4 or IPv6.
type family struct {
	ipv6    bool
	ingress []redirection
	vip     netip.Prefix // invalid without egress
	egress  uint16       // the listener
	tproxy  bool
	via     netip.Addr // the proxy's address, in another namespace
}

// redirection leads from an intercepted port to its listener.
type redirection struct{ from, to uint16 }

func parse(data []byte) (config, error) {
	var raw rawConfig
	if err := plugin.Decode(data, &raw); err != nil {
		return config{}, err
	}
	if !raw.EnableIPv4 && !raw.EnableIPv6 {
		return config{}, plugin.Invalid("enableIPv4", false, "true here or in enableIPv6")
	}
	if len(raw.IngressConfig) == 0 && raw.EgressConfig == nil {
		return config{}, plugin.Invalid("egressConfig", nil, "an object here or entries in ingressConfig")
	}
	ingress, err := raw.ingress()
	if err != nil {
		return config{}, err
	}
	c := config{version: raw.CNIVersion}
	for _, f := range []family{{}, {ipv6: true}} {
		if f.ipv6 && !raw.EnableIPv6 || !f.ipv6 && !raw.EnableIPv4 {
			continue
		}
		f.ingress = ingress
		if raw.EgressConfig != nil {
			if err := raw.EgressConfig.into(&f); err != nil {
				return config{}, err
			}
		}
		c.families = append(c.families, f)
	}
	return c, nil
}

type rawConfig struct {
	CNIVersion    string `json:"cniVersion"`
	IngressConfig []struct {
		ListenerPort  int  `json:"listenerPort"`
		InterceptPort *int `json:"interceptPort"`
	} `json:"ingressConfig"`
	EgressConfig *rawEgress `json:"egressConfig"`
	EnableIPv4   bool       `json:"enableIPv4"`
	EnableIPv6   bool       `json:"enableIPv6"`
}

type rawEgress struct {
	ListenerPort int `json:"listenerPort"`
	RedirectIP   *struct {
		IPv4 string `json:"ipv4"`
		IPv6 string `json:"ipv6"`
	} `json:"redirectIP"`
	RedirectMode string `json:"redirectMode"`
	VIP          struct {
		IPv4CIDR string `json:"ipv4Cidr"`
		IPv6CIDR string `json:"ipv6Cidr"`
	} `json:"vip"`
}

const modeNAT, modeTProxy = "nat", "tproxy"

func validPort(p int) bool { return p >= 1 && p <= 65535 }

// ingress are the redirections in the order of their listeners. The last entry of a
// listener counts, as in the official plugin.
func (raw rawConfig) ingress() ([]redirection, error) {
	byListener := map[int]int{}
	for i, in := range raw.IngressConfig {
		if !validPort(in.ListenerPort) {
			return nil, plugin.Invalid(fmt.Sprintf("ingressConfig[%d].listenerPort", i), in.ListenerPort, "a port from 1 to 65535")
		}
		intercept := 0
		if in.InterceptPort != nil && *in.InterceptPort != 0 {
			if intercept = *in.InterceptPort; !validPort(intercept) {
				return nil, plugin.Invalid(fmt.Sprintf("ingressConfig[%d].interceptPort", i), intercept, "a port from 1 to 65535, or none")
			}
		}
		byListener[in.ListenerPort] = intercept
	}
	var all []redirection
	for listener, intercept := range byListener {
		if intercept != 0 {
			all = append(all, redirection{from: uint16(intercept), to: uint16(listener)})
		}
	}
	slices.SortFunc(all, func(a, b redirection) int { return int(a.to) - int(b.to) })
	return all, nil
}

// into reads the egress side for one family.
func (e *rawEgress) into(f *family) error {
	switch {
	case e.ListenerPort != 0 && e.RedirectIP != nil:
		return plugin.Invalid("egressConfig.redirectIP", e.RedirectIP, "either it or listenerPort, not both")
	case e.ListenerPort == 0 && e.RedirectIP == nil:
		return plugin.Invalid("egressConfig.listenerPort", 0, "a port, or an address in redirectIP")
	case e.ListenerPort != 0 && !validPort(e.ListenerPort):
		return plugin.Invalid("egressConfig.listenerPort", e.ListenerPort, "a port from 1 to 65535")
	case e.RedirectMode != modeNAT && e.RedirectMode != modeTProxy:
		return plugin.Invalid("egressConfig.redirectMode", e.RedirectMode, `"nat" or "tproxy"`)
	case e.RedirectMode == modeNAT && e.ListenerPort == 0:
		return plugin.Invalid("egressConfig.listenerPort", 0, "a port, because redirectMode is nat")
	}
	f.tproxy, f.egress = e.RedirectMode == modeTProxy, uint16(e.ListenerPort)
	vip, ip, field := e.VIP.IPv4CIDR, "", "ipv4"
	if e.RedirectIP != nil {
		ip = e.RedirectIP.IPv4
	}
	if f.ipv6 {
		vip, field = e.VIP.IPv6CIDR, "ipv6"
		if e.RedirectIP != nil {
			ip = e.RedirectIP.IPv6
		}
	}
	p, err := netip.ParsePrefix(vip)
	if err != nil || p.Addr().Is6() != f.ipv6 || p.Addr().Is4In6() {
		return plugin.Invalid("egressConfig.vip."+field+"Cidr", vip, "a network of that family, which is enabled")
	}
	f.vip = p.Masked()
	if e.RedirectIP == nil {
		return nil
	}
	f.via, err = netip.ParseAddr(ip)
	if err != nil || f.via.Is6() != f.ipv6 || f.via.Is4In6() || f.via.Zone() != "" {
		return plugin.Invalid("egressConfig.redirectIP."+field, ip, "an address of that family, which is enabled")
	}
	return nil
}

// The chains have the names that the official plugin gives them; so have the mark and
// the routing table.
const (
	ingressChain = "ECS_SERVICE_CONNECT_INGRESS"
	divertChain  = "ECS_SERVICE_CONNECT_DIVERT"
	mark         = 1
	routingTable = 100
)

// diverts reports whether packets to the VIPs are to be delivered here, unchanged.
func (f family) diverts() bool { return f.tproxy && f.egress != 0 }

func (f family) set() proxyrules.Set {
	s := proxyrules.Set{Name: "ecs_serviceconnect", IPv6: f.ipv6}
	if len(f.ingress) > 0 {
		chain := proxyrules.Chain{Name: ingressChain, Table: proxyrules.NAT}
		for _, r := range f.ingress {
			chain.Rules = append(chain.Rules, proxyrules.Rule{TCP: true, Ports: []uint16{r.from}, Verdict: proxyrules.Verdict{Redirect: r.to}})
		}
		s.Chains = append(s.Chains, chain, proxyrules.Chain{Name: proxyrules.Prerouting, Table: proxyrules.NAT, Rules: []proxyrules.Rule{
			{TCP: true, SourceNotLocal: true, Verdict: proxyrules.Verdict{Jump: ingressChain}},
		}})
	}
	switch {
	case f.diverts():
		s.Chains = append(s.Chains,
			proxyrules.Chain{Name: divertChain, Table: proxyrules.Mangle, Rules: []proxyrules.Rule{
				{Verdict: proxyrules.Verdict{Mark: mark}},
				{Verdict: proxyrules.Verdict{Accept: true}},
			}},
			proxyrules.Chain{Name: proxyrules.Prerouting, Table: proxyrules.Mangle, Rules: []proxyrules.Rule{
				{TCP: true, OwnSocket: true, Verdict: proxyrules.Verdict{Jump: divertChain}},
				{TCP: true, To: f.vip, Verdict: proxyrules.Verdict{TProxy: f.egress, Mark: mark}},
			}})
	case f.egress != 0:
		s.Chains = append(s.Chains, proxyrules.Chain{Name: proxyrules.Output, Table: proxyrules.NAT, Rules: []proxyrules.Rule{
			{TCP: true, To: f.vip, Verdict: proxyrules.Verdict{Redirect: f.egress}},
		}})
	}
	return s
}
