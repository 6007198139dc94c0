package tasknet

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"ecsagent/agent/task"
)

// Settings are those of the host.
type Settings struct {
	BlockMetadata bool
	LocalRoutes   []netip.Prefix // through the bridge, besides the credentials endpoint
	LocalAddress  netip.Prefix   // fixed address on the bridge; invalid for any
}

// Names of interfaces inside a task, and of what is on the host (docs/spec/05 chapter 0).
const (
	ENIName       = "eth0"
	BridgeEndName = "ecs-eth0"
	appMeshName   = "aws-appmesh"
	bridgeName    = "ecs-bridge"
	networkName   = "network-name"
	cniVersion    = "0.3.0"
)

// The subnet of the bridge, and the address of the credentials endpoint.
var (
	bridgeSubnet = netip.MustParsePrefix("169.254.172.0/22")
	credentials  = netip.MustParsePrefix("169.254.170.2/32")
)

// Step is a call of one plugin.
type Step struct {
	Plugin string
	IfName string
	Config []byte // for ADD
	Delete []byte // for DEL; the address on the bridge stays the task's
}

// Plan is what is run for a task, in this order, and backwards when it ends.
type Plan struct {
	Steps   []Step
	Release []byte // for DEL of ecs-ipam, once the task is stopped
}

type head struct {
	CNIVersion string `json:"cniVersion"`
	Name       string `json:"name"`
	Type       string `json:"type"`
}

func headOf(plugin string) head { return head{cniVersion, networkName, plugin} }

// NewPlan decides what a task needs. An interface that cannot work is refused here, with
// its field and value.
func NewPlan(spec *task.Spec, s Settings) (Plan, error) {
	if len(spec.ENIs) == 0 {
		return Plan{}, fmt.Errorf("network mode awsvpc: the task came without an elastic network interface")
	}
	if n := len(spec.ENIs); n > 1 {
		return Plan{}, fmt.Errorf("network mode awsvpc: the task came with %d elastic network interfaces; want 1", n)
	}
	eni := &spec.ENIs[0]
	first, err := eniStep(eni, s)
	if err != nil {
		return Plan{}, fmt.Errorf("elastic network interface %s: %w", eni.EC2ID, err)
	}
	p := Plan{Steps: []Step{first}}
	bridge, release, err := bridgeStep(eni.MAC, s)
	if err != nil {
		return Plan{}, err
	}
	p.Steps, p.Release = append(p.Steps, bridge), release
	if spec.Proxy != nil {
		mesh, err := appMeshStep(spec)
		if err != nil {
			return Plan{}, fmt.Errorf("proxyConfiguration: %w", err)
		}
		p.Steps = append(p.Steps, mesh)
	}
	if spec.Connect != nil {
		connect, ok, err := connectStep(spec.Connect, eni)
		if err != nil {
			return Plan{}, err
		}
		if ok {
			p.Steps = append(p.Steps, connect)
		}
	}
	return p, nil
}

// addresses are an interface's, and its gateways (docs/spec/05 section 2.9).
func addresses(e *task.ENI) (all, gateways []string, err error) {
	prefixOf := func(field, gateway string) (netip.Prefix, error) {
		p, err := netip.ParsePrefix(gateway)
		if err != nil {
			return p, fmt.Errorf(`%s %q: want the gateway with the subnet's prefix length such as "10.20.1.1/24"`, field, gateway)
		}
		return p, nil
	}
	add := func(list []task.Address, bits int) error {
		for _, a := range list {
			ip, err := netip.ParseAddr(a.Address)
			if err != nil || bits > ip.BitLen() {
				return fmt.Errorf("address %q: want an address in a subnet of prefix length %d", a.Address, bits)
			}
			all = append(all, netip.PrefixFrom(ip, bits).String())
		}
		return nil
	}
	if len(e.IPv4)+len(e.IPv6) == 0 {
		return nil, nil, fmt.Errorf("it has no address")
	}
	bits6 := 64
	if e.SubnetGatewayIPv6 != "" || len(e.IPv4) == 0 {
		if e.SubnetGatewayIPv6 == "" {
			return nil, nil, fmt.Errorf("task ENI is IPv6-only but has no IPv6 subnet gateway address")
		}
		p, err := prefixOf("subnetGatewayIpv6Address", e.SubnetGatewayIPv6)
		if err != nil {
			return nil, nil, err
		}
		if len(e.IPv4) == 0 {
			bits6 = p.Bits()
		}
		if len(e.IPv6) > 0 {
			gateways = append(gateways, p.Addr().String())
		}
	}
	if len(e.IPv4) > 0 {
		p, err := prefixOf("subnetGatewayIpv4Address", e.SubnetGatewayIPv4)
		if err != nil {
			return nil, nil, err
		}
		gateways = slices.Insert(gateways, 0, p.Addr().String())
		if err := add(e.IPv4, p.Bits()); err != nil {
			return nil, nil, err
		}
	}
	return all, gateways, add(e.IPv6, bits6)
}

func eniStep(e *task.ENI, s Settings) (Step, error) {
	mac, err := net.ParseMAC(e.MAC)
	if err != nil {
		return Step{}, fmt.Errorf("MAC address %q: %w", e.MAC, err)
	}
	all, gateways, err := addresses(e)
	if err != nil {
		return Step{}, err
	}
	switch e.AssociationProtocol {
	case "", "default":
		config, err := json.Marshal(struct {
			head
			ENIName       string   `json:"eniName"`
			ENIMACAddress string   `json:"eniMACAddress"`
			IPAddresses   []string `json:"eniIPAddresses"`
			Gateways      []string `json:"gatewayIPAddresses"`
			UseExisting   bool     `json:"useExistingNetwork"`
			Block         bool     `json:"blockInstanceMetadata"`
		}{headOf("vpc-eni"), "", mac.String(), all, gateways, false, s.BlockMetadata})
		return Step{Plugin: "vpc-eni", IfName: ENIName, Config: config, Delete: config}, err
	case "vlan":
		config, err := json.Marshal(struct {
			head
			Trunk       string   `json:"trunkMACAddress"`
			VLAN        string   `json:"branchVlanID"`
			MAC         string   `json:"branchMACAddress"`
			IPAddresses []string `json:"ipAddresses"`
			Gateways    []string `json:"gatewayIPAddresses"`
			Block       bool     `json:"blockInstanceMetadata"`
			Type        string   `json:"interfaceType"`
		}{headOf("vpc-branch-eni"), e.TrunkMAC, e.VLANID, mac.String(), all, gateways, s.BlockMetadata, "vlan"})
		return Step{Plugin: "vpc-branch-eni", IfName: ENIName, Config: config, Delete: config}, err
	}
	return Step{}, fmt.Errorf(`association protocol %q: want "default" or "vlan"`, e.AssociationProtocol)
}

type ipamBlock struct {
	Type    string  `json:"type"`
	ID      string  `json:"id"`
	Subnet  string  `json:"ipv4-subnet"`
	Address string  `json:"ipv4-address,omitempty"`
	Routes  []route `json:"ipv4-routes"`
}

type route struct {
	Dst string `json:"dst"`
}

// bridgeStep joins the bridge. The owner of the address there is the interface's MAC.
func bridgeStep(mac string, s Settings) (Step, []byte, error) {
	block := ipamBlock{Type: "ecs-ipam", ID: strings.ToLower(mac), Subnet: bridgeSubnet.String(), Routes: []route{{credentials.String()}}}
	for _, p := range s.LocalRoutes {
		if p.Addr().Is4() {
			block.Routes = append(block.Routes, route{p.Masked().String()})
		}
	}
	if s.LocalAddress.IsValid() {
		block.Address = s.LocalAddress.String()
	}
	type conf struct {
		head
		Bridge    string `json:"bridge"`
		Gateway   bool   `json:"isGateway"`
		Default   bool   `json:"isDefaultGateway"`
		Force     bool   `json:"forceAddress"`
		Masq      bool   `json:"ipMasq"`
		MTU       int    `json:"mtu"`
		Hairpin   bool   `json:"hairpinMode"`
		IPAMBlock any    `json:"ipam"`
	}
	c := conf{head: headOf("ecs-bridge"), Bridge: bridgeName, IPAMBlock: block}
	add, err := json.Marshal(c)
	if err != nil {
		return Step{}, nil, err
	}
	c.IPAMBlock = struct{}{}
	del, err := json.Marshal(c)
	if err != nil {
		return Step{}, nil, err
	}
	release, err := json.Marshal(struct {
		head
		IPAMBlock ipamBlock `json:"ipam"`
	}{headOf("ecs-ipam"), block})
	return Step{Plugin: "ecs-bridge", IfName: BridgeEndName, Config: add, Delete: del}, release, err
}
