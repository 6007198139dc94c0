package wire

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"ecsagent/agent/task"
)

// readENI reads an interface and checks it (docs/spec/01 section 2.9.6).
func readENI(o object) task.ENI {
	e := task.ENI{
		EC2ID: o.required("ec2Id"), AttachmentARN: o.text("attachmentArn"), MAC: strings.ToLower(o.required("macAddress")),
		SubnetGatewayIPv4: o.text("subnetGatewayIpv4Address"), SubnetGatewayIPv6: o.text("subnetGatewayIpv6Address"),
		DomainNames: o.texts("domainName"), DomainNameServers: o.texts("domainNameServers"),
		PrivateDNSName: o.text("privateDnsName"),
	}
	for _, a := range o.each("ipv4Addresses") {
		e.IPv4 = append(e.IPv4, readAddress(a, "privateAddress", netip.Addr.Is4))
	}
	for _, a := range o.each("ipv6Addresses") {
		e.IPv6 = append(e.IPv6, readAddress(a, "address", netip.Addr.Is6))
	}
	if o.d.err != nil {
		return e
	}
	if _, err := net.ParseMAC(e.MAC); err != nil {
		o.reject("macAddress", "a MAC address")
	}
	readAssociationProtocol(o, &e)
	checkAddresses(o, &e)
	return e
}

func readAddress(o object, name string, family func(netip.Addr) bool) task.Address {
	a := task.Address{Address: o.required(name), Primary: o.flag("primary")}
	if ip, err := netip.ParseAddr(a.Address); err != nil || !family(ip) {
		o.reject(name, "an IP address of this family")
	}
	return a
}

// readAssociationProtocol reads how the interface reaches the host. An empty word
// is not the same as none.
func readAssociationProtocol(o object, e *task.ENI) {
	const name = "interfaceAssociationProtocol"
	if !o.has(name) {
		return
	}
	e.AssociationProtocol = o.text(name)
	switch e.AssociationProtocol {
	case "default":
	case "vlan":
		v := o.inner("interfaceVlanProperties")
		e.VLANID, e.TrunkMAC = v.required("vlanId"), strings.ToLower(v.required("trunkInterfaceMacAddress"))
	default:
		o.reject(name, `"default" or "vlan"`)
	}
}

// checkAddresses checks what depends on the families that the interface has.
func checkAddresses(o object, e *task.ENI) {
	only6 := len(e.IPv4) == 0 && len(e.IPv6) > 0
	switch {
	case len(e.IPv4) == 0 && len(e.IPv6) == 0:
		o.reject("ipv4Addresses", "at least one address")
	case only6:
		checkGateway(o, "subnetGatewayIpv6Address", e.SubnetGatewayIPv6, true)
	default:
		checkGateway(o, "subnetGatewayIpv4Address", e.SubnetGatewayIPv4, true)
		if e.SubnetGatewayIPv6 != "" {
			checkGateway(o, "subnetGatewayIpv6Address", e.SubnetGatewayIPv6, false)
		}
	}
}

// checkGateway checks an address with the prefix length of its subnet. Without the
// prefix, an IPv6 gateway counts as /64 where it is not the only one.
func checkGateway(o object, name, gateway string, prefix bool) {
	if !prefix && !strings.Contains(gateway, "/") {
		gateway += "/64"
	}
	if _, err := netip.ParsePrefix(gateway); err != nil {
		o.reject(name, `an address with the length of its prefix, as "10.0.1.1/24"`)
	}
}

// readProxy reads the App Mesh settings (docs/spec/01 section 2.9.7).
func readProxy(o object) *task.Proxy {
	p := o.inner("proxyConfiguration")
	if p.members == nil {
		return nil
	}
	if p.text("type") != "APPMESH" {
		p.reject("type", `"APPMESH"`)
	}
	return &task.Proxy{ContainerName: p.text("containerName"), Properties: p.textMap("properties")}
}

func readAssociations(o object) []task.Association {
	var out []task.Association
	for _, a := range o.each("associations") {
		content := a.inner("content")
		association := task.Association{
			Name: a.text("name"), Type: a.text("type"), Value: content.text("value"),
			Encoding: content.text("encoding"), Containers: a.texts("containers"),
		}
		switch association.Encoding {
		case "", "identity", "base64":
		default:
			content.reject("encoding", "identity or base64")
		}
		out = append(out, association)
	}
	return out
}

// assignGPUs gives each container the GPUs that are associated with it. An
// association that does not name exactly one container of the task is left for the
// engine, which rejects it where GPUs are in use (docs/spec/02 section 4.8).
func assignGPUs(s *task.Spec) {
	for _, a := range s.Associations {
		if a.Type != "gpu" || len(a.Containers) != 1 {
			continue
		}
		if i := s.Index(a.Containers[0]); i >= 0 {
			s.Containers[i].GPUs = append(s.Containers[i].GPUs, a.Name)
		}
	}
}

// checkARN rejects what is not an ARN.
func checkARN(o object, name string) {
	arn := o.required(name)
	if parts := strings.SplitN(arn, ":", 6); o.d.err == nil && (len(parts) != 6 || parts[0] != "arn" || parts[5] == "") {
		o.d.fail(fmt.Errorf("%s is %s: want an ARN", o.at(name), quote(arn)))
	}
}
