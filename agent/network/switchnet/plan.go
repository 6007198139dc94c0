package switchnet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"ecsagent/agent/task"
)

// Settings are those of the host.
type Settings struct {
	BlockMetadata bool
	LocalRoutes   []netip.Prefix   // through the network nat, besides the credentials endpoint
	Primary       net.HardwareAddr // of the host's own interface, which is no task's; nil: not known
}

// Names of networks, and of what CNI takes for interfaces (docs/spec/05 section 5.4).
const (
	taskName   = "task"
	bridgeName = "nat"
	// ENIName is what CNI and ECS call the task's interface.
	ENIName    = "eth0"
	pluginName = "vpc-eni"
	cniVersion = "0.3.0"
	// gcVersion is the first that has STATUS and GC.
	gcVersion = "1.1.0"
)

// Plan is what the plugin is told for a task: of its interface, and of its place on
// Docker's network.
type Plan struct {
	Task, Bridge []byte
	mac          net.HardwareAddr
}

type dns struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Search      []string `json:"search,omitempty"`
}

type conf struct {
	CNIVersion  string   `json:"cniVersion"`
	Name        string   `json:"name"`
	Type        string   `json:"type"`
	DNS         dns      `json:"dns"`
	ENIName     string   `json:"eniName"`
	ENIMAC      string   `json:"eniMACAddress"`
	Addresses   []string `json:"eniIPAddresses"`
	Gateways    []string `json:"gatewayIPAddresses"`
	UseExisting bool     `json:"useExistingNetwork"`
	Block       bool     `json:"blockInstanceMetadata"`
}

func bridgeConf(s Settings) conf {
	return conf{CNIVersion: cniVersion, Name: bridgeName, Type: pluginName, UseExisting: true, Block: s.BlockMetadata}
}

// NewPlan decides what a task needs. An interface that cannot work on Windows is refused
// here, with its field and value. servers are the host's DNS servers.
func NewPlan(spec *task.Spec, s Settings, servers []string) (Plan, error) {
	if n := len(spec.ENIs); n != 1 {
		return Plan{}, fmt.Errorf("network mode awsvpc: the task came with %d elastic network interfaces; want 1", n)
	}
	if spec.Proxy != nil {
		return Plan{}, fmt.Errorf("proxy configuration (App Mesh): not possible on Windows")
	}
	eni := &spec.ENIs[0]
	p, err := newPlan(eni, s, servers)
	if err != nil {
		return Plan{}, fmt.Errorf("elastic network interface %s: %w", eni.EC2ID, err)
	}
	return p, nil
}

func newPlan(e *task.ENI, s Settings, servers []string) (p Plan, err error) {
	if e.AssociationProtocol != "" && e.AssociationProtocol != "default" {
		return p, fmt.Errorf(`association protocol %q: want "default" on Windows, which has no branch interfaces`, e.AssociationProtocol)
	}
	if p.mac, err = net.ParseMAC(e.MAC); err != nil || len(p.mac) != 6 {
		return p, fmt.Errorf("MAC address %q: want one such as 06:1f:2e:3d:4c:5b", e.MAC)
	}
	if bytes.Equal(p.mac, s.Primary) {
		return p, fmt.Errorf("MAC address %q is that of the container instance's own interface, which a task would cut off", e.MAC)
	}
	address, gateway, err := addresses(e)
	if err != nil {
		return p, err
	}
	c := conf{
		CNIVersion: cniVersion, Name: taskName, Type: pluginName, DNS: dns{servers, e.DomainNames}, ENIMAC: p.mac.String(),
		Addresses: []string{address}, Gateways: []string{gateway}, Block: s.BlockMetadata,
	}
	if p.Task, err = json.Marshal(c); err != nil {
		return p, err
	}
	p.Bridge, err = json.Marshal(bridgeConf(s))
	return p, err
}

// addresses are the primary IPv4 address, which is all that a task gets on Windows, with
// the length of its prefix, and its gateway.
func addresses(e *task.ENI) (address, gateway string, err error) {
	if len(e.IPv4) == 0 {
		return "", "", fmt.Errorf("it has no IPv4 address, without which there is no network on Windows")
	}
	text := e.IPv4[0].Address
	for _, a := range e.IPv4 {
		if a.Primary {
			text = a.Address
			break
		}
	}
	subnet, err := netip.ParsePrefix(e.SubnetGatewayIPv4)
	if err != nil || !subnet.Addr().Is4() {
		return "", "", fmt.Errorf(`subnetGatewayIpv4Address %q: want the gateway with the subnet's prefix length such as "10.20.1.1/24"`, e.SubnetGatewayIPv4)
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || !subnet.Masked().Contains(ip) {
		return "", "", fmt.Errorf("address %q: want an address in the subnet %s", text, subnet.Masked())
	}
	return netip.PrefixFrom(ip, subnet.Bits()).String(), subnet.Addr().String(), nil
}

// AdapterName is how Windows calls the adapter that a task's interface is inside the task,
// after its endpoint (docs/spec/05 section 5.3). pause is the container that holds the
// task's network.
func AdapterName(mac, pause string) (string, error) {
	hardware, err := net.ParseMAC(mac)
	if err != nil || len(hardware) != 6 {
		return "", fmt.Errorf("MAC address %q: want one such as 06:1f:2e:3d:4c:5b", mac)
	}
	return taskAdapter(hardware, pause), nil
}

func taskAdapter(mac net.HardwareAddr, pause string) string {
	return "vEthernet (" + taskName + "br" + strings.ReplaceAll(mac.String(), ":", "") + "-ep-" + pause + ")"
}

func bridgeAdapter(pause string) string { return "vEthernet (" + bridgeName + "-ep-" + pause + ")" }

// sweepConf is the configuration of a network for STATUS, and for GC with the attachments
// that stay.
func sweepConf(name string, valid any) ([]byte, error) {
	c := map[string]any{"cniVersion": gcVersion, "name": name, "type": pluginName, "useExistingNetwork": name == bridgeName}
	if valid != nil {
		c["cni.dev/valid-attachments"] = valid
	}
	return json.Marshal(c)
}
