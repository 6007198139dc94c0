package appmesh

import (
	"fmt"
	"net/netip"
	"strconv"

	"ecsagent/cni/plugin"
	"ecsagent/cni/proxyrules"
)

type config struct {
	uid, gid     *uint32
	ingress      uint16 // 0 without application ports
	egress       uint16
	appPorts     []uint16
	ignoredPorts []uint16
	ignoredIPs   []netip.Prefix
	ipv6         bool
}

func parse(data []byte) (config, error) {
	var raw struct {
		IgnoredUID         string   `json:"ignoredUID"`
		IgnoredGID         string   `json:"ignoredGID"`
		ProxyIngressPort   string   `json:"proxyIngressPort"`
		ProxyEgressPort    string   `json:"proxyEgressPort"`
		AppPorts           []string `json:"appPorts"`
		EgressIgnoredPorts []string `json:"egressIgnoredPorts"`
		EgressIgnoredIPs   []string `json:"egressIgnoredIPs"`
		EnableIPv6         bool     `json:"enableIPv6"`
	}
	if err := plugin.Decode(data, &raw); err != nil {
		return config{}, err
	}
	if raw.IgnoredUID == "" && raw.IgnoredGID == "" {
		return config{}, plugin.Invalid("ignoredUID", "", "the proxy's user here or its group in ignoredGID, so that its own traffic passes")
	}
	c := config{ipv6: raw.EnableIPv6}
	var err error
	if c.uid, err = number("ignoredUID", raw.IgnoredUID); err != nil {
		return config{}, err
	}
	if c.gid, err = number("ignoredGID", raw.IgnoredGID); err != nil {
		return config{}, err
	}
	if c.egress, err = port("proxyEgressPort", raw.ProxyEgressPort); err != nil {
		return config{}, err
	}
	if raw.ProxyIngressPort == "" && len(raw.AppPorts) > 0 {
		return config{}, plugin.Invalid("proxyIngressPort", "", "a port, because there are appPorts")
	}
	if raw.ProxyIngressPort != "" {
		if len(raw.AppPorts) == 0 {
			return config{}, plugin.Invalid("appPorts", raw.AppPorts, "the application's ports, because there is a proxyIngressPort")
		}
		if c.ingress, err = port("proxyIngressPort", raw.ProxyIngressPort); err != nil {
			return config{}, err
		}
	}
	if c.appPorts, err = ports("appPorts", raw.AppPorts); err != nil {
		return config{}, err
	}
	if c.ignoredPorts, err = ports("egressIgnoredPorts", raw.EgressIgnoredPorts); err != nil {
		return config{}, err
	}
	c.ignoredIPs, err = networks("egressIgnoredIPs", raw.EgressIgnoredIPs)
	return c, err
}

func number(field, text string) (*uint32, error) {
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil, plugin.Invalid(field, text, `a number such as "1337"`)
	}
	id := uint32(n)
	return &id, nil
}

func port(field, text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, plugin.Invalid(field, text, `a port from "1" to "65535"`)
	}
	return uint16(n), nil
}

// empty reports whether a list holds nothing: the payload may have one empty text.
func empty(list []string) bool { return len(list) == 0 || len(list) == 1 && list[0] == "" }

func ports(field string, list []string) ([]uint16, error) {
	if empty(list) {
		return nil, nil
	}
	var all []uint16
	for i, text := range list {
		p, err := port(fmt.Sprintf("%s[%d]", field, i), text)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func networks(field string, list []string) ([]netip.Prefix, error) {
	if empty(list) {
		return nil, nil
	}
	var all []netip.Prefix
	for i, text := range list {
		p, err := netip.ParsePrefix(text)
		if a, e := netip.ParseAddr(text); err != nil && e == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil || p.Addr().Is4In6() {
			return nil, plugin.Invalid(fmt.Sprintf("%s[%d]", field, i), text, "an address or a network such as 192.0.2.0/24")
		}
		all = append(all, p)
	}
	return all, nil
}

// The chains have the names that the official plugin gives them.
const (
	ingressChain = "APPMESH_INGRESS"
	egressChain  = "APPMESH_EGRESS"
)

// sets are the rules, for each family that is enabled.
func (c config) sets() []proxyrules.Set {
	sets := []proxyrules.Set{c.set(false)}
	if c.ipv6 {
		sets = append(sets, c.set(true))
	}
	return sets
}

func (c config) set(ipv6 bool) proxyrules.Set {
	s := proxyrules.Set{Name: "ecs_appmesh", IPv6: ipv6}
	if len(c.appPorts) > 0 {
		s.Chains = append(s.Chains,
			proxyrules.Chain{Name: ingressChain, Table: proxyrules.NAT, Rules: []proxyrules.Rule{
				{TCP: true, Ports: c.appPorts, Verdict: proxyrules.Verdict{Redirect: c.ingress}},
			}},
			proxyrules.Chain{Name: proxyrules.Prerouting, Table: proxyrules.NAT, Rules: []proxyrules.Rule{
				{TCP: true, SourceNotLocal: true, Verdict: proxyrules.Verdict{Jump: ingressChain}},
			}})
	}
	egress := proxyrules.Chain{Name: egressChain, Table: proxyrules.NAT}
	pass := proxyrules.Verdict{Return: true}
	if c.uid != nil {
		egress.Rules = append(egress.Rules, proxyrules.Rule{UID: c.uid, Verdict: pass})
	}
	if c.gid != nil {
		egress.Rules = append(egress.Rules, proxyrules.Rule{GID: c.gid, Verdict: pass})
	}
	if len(c.ignoredPorts) > 0 {
		egress.Rules = append(egress.Rules, proxyrules.Rule{TCP: true, Ports: c.ignoredPorts, Verdict: pass})
	}
	for _, p := range c.ignoredIPs {
		if p.Addr().Is6() == ipv6 {
			egress.Rules = append(egress.Rules, proxyrules.Rule{TCP: true, To: p, Verdict: pass})
		}
	}
	egress.Rules = append(egress.Rules, proxyrules.Rule{TCP: true, Verdict: proxyrules.Verdict{Redirect: c.egress}})
	s.Chains = append(s.Chains, egress,
		proxyrules.Chain{Name: proxyrules.Output, Table: proxyrules.NAT, Rules: []proxyrules.Rule{
			{TCP: true, TargetNotLocal: true, Verdict: proxyrules.Verdict{Jump: egressChain}},
		}})
	return s
}
