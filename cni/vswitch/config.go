package vswitch

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"ecsagent/cni/plugin"
)

// Config is what a call of the plugin asks for.
type Config struct {
	name     string
	existing bool // the network is there, and not ours
	adapter  string
	mac      net.HardwareAddr
	address  netip.Prefix
	gateway  netip.Addr
	block    bool
	servers  []string
	search   []string
}

// names is what a network may be called: it ends up in names of adapters.
var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// raw is a configuration as it comes (docs/spec/05 section 5.4).
type raw struct {
	Name string `json:"name"`
	DNS  struct {
		Nameservers []string `json:"nameservers"`
		Search      []string `json:"search"`
	} `json:"dns"`
	ENIName               string   `json:"eniName"`
	ENIMACAddress         string   `json:"eniMACAddress"`
	ENIIPAddresses        []string `json:"eniIPAddresses"`
	GatewayIPAddresses    []string `json:"gatewayIPAddresses"`
	UseExistingNetwork    bool     `json:"useExistingNetwork"`
	BlockInstanceMetadata bool     `json:"blockInstanceMetadata"`
}

func decode(data []byte) (r raw, err error) {
	if err := plugin.Decode(data, &r); err != nil {
		return r, err
	}
	if !names.MatchString(r.Name) {
		return r, plugin.Invalid("name", r.Name, `the network's name, of letters, digits, "_", "." and "-"`)
	}
	return r, nil
}

// ParseNetwork reads what a configuration says of networks alone, for Sweep.
func ParseNetwork(data []byte) (Config, error) {
	r, err := decode(data)
	return Config{name: r.Name, existing: r.UseExistingNetwork}, err
}

// Parse reads a configuration.
func Parse(data []byte) (Config, error) {
	raw, err := decode(data)
	if err != nil {
		return Config{}, err
	}
	c := Config{
		name: raw.Name, existing: raw.UseExistingNetwork, adapter: raw.ENIName, block: raw.BlockInstanceMetadata,
		servers: raw.DNS.Nameservers, search: raw.DNS.Search,
	}
	if _, err := plugin.ParseAddresses("dns.nameservers", c.servers); err != nil {
		return Config{}, err
	}
	for i, domain := range c.search {
		if domain == "" || strings.ContainsAny(domain, ", \t") {
			return Config{}, plugin.Invalid(fmt.Sprintf("dns.search[%d]", i), domain, "a domain such as corp.example.com")
		}
	}
	if c.existing {
		return c, nil
	}
	if c.mac, err = plugin.ParseMAC("eniMACAddress", raw.ENIMACAddress); err != nil {
		return Config{}, err
	}
	addresses, err := plugin.ParsePrefixes("eniIPAddresses", raw.ENIIPAddresses)
	if err != nil {
		return Config{}, err
	}
	if len(addresses) == 0 || !addresses[0].Addr().Is4() {
		return Config{}, plugin.Invalid("eniIPAddresses", raw.ENIIPAddresses, "an IPv4 address with its prefix length first, such as 10.30.1.25/24")
	}
	gateways, err := plugin.ParseAddresses("gatewayIPAddresses", raw.GatewayIPAddresses)
	if err != nil {
		return Config{}, err
	}
	c.address = addresses[0]
	if len(gateways) > 0 {
		if c.gateway = gateways[0]; !c.address.Masked().Contains(c.gateway) {
			return Config{}, plugin.Invalid("gatewayIPAddresses[0]", c.gateway.String(), "an address in "+c.address.Masked().String())
		}
	}
	return c, nil
}

// network is the name of the network (docs/spec/05 section 5.3).
func (c Config) network() string {
	if c.existing {
		return c.name
	}
	return c.name + "br" + strings.ReplaceAll(c.mac.String(), ":", "")
}

func (c Config) endpoint(t Target) string { return c.network() + "-ep-" + t.owner }

// Target is whom a call is for.
type Target struct {
	owner  string // names the endpoint
	where  Place
	shared bool // the endpoint is another container's, which keeps it
}

// ParseTarget reads CNI_CONTAINERID and CNI_NETNS: "none", or nothing, is the container
// that owns the task's network; "container:ID" is one that shares the network of ID; a
// GUID is a namespace of HCN.
func ParseTarget(container, namespace string) (Target, error) {
	const form = `"none", "container:ID" or the GUID of a namespace`
	if container == "" || container == plugin.NoContainer {
		return Target{}, plugin.Invalid("CNI_CONTAINERID", container, "the id of a container")
	}
	switch owner, shared := strings.CutPrefix(namespace, "container:"); {
	case namespace == "", namespace == "none":
		return Target{owner: container, where: Place{Container: container}}, nil
	case shared && owner != "":
		return Target{owner: owner, where: Place{Container: container}, shared: true}, nil
	case uuid.Validate(namespace) == nil:
		return Target{owner: namespace, where: Place{Namespace: namespace}}, nil
	}
	return Target{}, plugin.Invalid("CNI_NETNS", namespace, form)
}
