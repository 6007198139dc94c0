package vpceni

import (
	"net"
	"net/netip"

	"ecsagent/cni/plugin"
)

// config is what both plugins are asked for.
type config struct {
	name      string
	mac       net.HardwareAddr
	addresses []netip.Prefix
	gateways  []netip.Addr
	mtu       int
	block     bool
	// down leaves the interface unconfigured.
	down bool
}

// parse reads a configuration of vpc-eni.
func parse(data []byte) (config, error) {
	var raw struct {
		ENIName               string   `json:"eniName"`
		ENIMACAddress         string   `json:"eniMACAddress"`
		ENIIPAddresses        []string `json:"eniIPAddresses"`
		GatewayIPAddresses    []string `json:"gatewayIPAddresses"`
		BlockInstanceMetadata bool     `json:"blockInstanceMetadata"`
		OpStateDown           bool     `json:"opStateDown"`
	}
	if err := plugin.Decode(data, &raw); err != nil {
		return config{}, err
	}
	c := config{name: raw.ENIName, block: raw.BlockInstanceMetadata, down: raw.OpStateDown}
	var err error
	if raw.ENIMACAddress != "" {
		if c.mac, err = plugin.ParseMAC("eniMACAddress", raw.ENIMACAddress); err != nil {
			return config{}, err
		}
	}
	if c.name == "" && c.mac == nil {
		return config{}, plugin.Invalid("eniMACAddress", "", "the interface's MAC address, or its name in eniName")
	}
	return c, c.parseAddresses("eniIPAddresses", raw.ENIIPAddresses, "gatewayIPAddresses", raw.GatewayIPAddresses)
}

// parseLegacy reads a configuration of ecs-eni.
func parseLegacy(data []byte) (config, error) {
	var raw struct {
		ENI                   string   `json:"eni"`
		MAC                   string   `json:"mac"`
		IPAddresses           []string `json:"ip-addresses"`
		GatewayIPAddresses    []string `json:"gateway-ip-addresses"`
		BlockInstanceMetadata bool     `json:"block-instance-metadata"`
		StayDown              bool     `json:"stay-down"`
		MTU                   int      `json:"mtu"`
	}
	if err := plugin.Decode(data, &raw); err != nil {
		return config{}, err
	}
	c := config{block: raw.BlockInstanceMetadata, down: raw.StayDown, mtu: raw.MTU}
	if raw.ENI == "" {
		return config{}, plugin.Invalid("eni", "", "the interface's id such as eni-0abc12345")
	}
	if raw.MTU < 0 || raw.MTU > 65535 {
		return config{}, plugin.Invalid("mtu", raw.MTU, "0 to keep the driver's, or at most 65535")
	}
	var err error
	if c.mac, err = plugin.ParseMAC("mac", raw.MAC); err != nil {
		return config{}, err
	}
	return c, c.parseAddresses("ip-addresses", raw.IPAddresses, "gateway-ip-addresses", raw.GatewayIPAddresses)
}

func (c *config) parseAddresses(field string, addresses []string, gatewayField string, gateways []string) (err error) {
	if c.addresses, err = plugin.ParsePrefixes(field, addresses); err != nil {
		return err
	}
	if len(c.addresses) == 0 {
		return plugin.Invalid(field, addresses, "at least one address with a prefix length")
	}
	c.gateways, err = plugin.ParseAddresses(gatewayField, gateways)
	return err
}
