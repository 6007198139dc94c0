package branch

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"ecsagent/cni/plugin"
)

type config struct {
	trunkName string
	trunkMAC  net.HardwareAddr
	vlan      int
	mac       net.HardwareAddr
	addresses []netip.Prefix
	gateways  []netip.Addr
	block     bool
}

// maxVLAN is the last id of IEEE 802.1Q that a device may have.
const maxVLAN = 4094

// parse reads a configuration; CNI_ARGS go before it.
func parse(data []byte, cniArgs string) (config, error) {
	var raw struct {
		TrunkName             string   `json:"trunkName"`
		TrunkMACAddress       string   `json:"trunkMACAddress"`
		BranchVLANID          string   `json:"branchVlanID"`
		BranchMACAddress      string   `json:"branchMACAddress"`
		IPAddresses           []string `json:"ipAddresses"`
		GatewayIPAddresses    []string `json:"gatewayIPAddresses"`
		BlockInstanceMetadata bool     `json:"blockInstanceMetadata"`
		InterfaceType         *string  `json:"interfaceType"`
	}
	if err := plugin.Decode(data, &raw); err != nil {
		return config{}, err
	}
	for pair := range strings.SplitSeq(cniArgs, ";") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "BranchVlanID":
			raw.BranchVLANID = value
		case "BranchMACAddress":
			raw.BranchMACAddress = value
		case "IPAddresses":
			raw.IPAddresses = list(value)
		case "GatewayIPAddresses":
			raw.GatewayIPAddresses = list(value)
		}
	}
	// The default of the official plugin, tap, is for micro-VMs.
	if raw.InterfaceType == nil || *raw.InterfaceType != "vlan" {
		return config{}, plugin.Invalid("interfaceType", raw.InterfaceType, `"vlan", the only kind that tasks on EC2 have`)
	}
	c := config{trunkName: raw.TrunkName, block: raw.BlockInstanceMetadata}
	var err error
	if raw.TrunkMACAddress != "" {
		if c.trunkMAC, err = plugin.ParseMAC("trunkMACAddress", raw.TrunkMACAddress); err != nil {
			return config{}, err
		}
	}
	if c.trunkName == "" && c.trunkMAC == nil {
		return config{}, plugin.Invalid("trunkMACAddress", "", "the trunk's MAC address, or its name in trunkName")
	}
	if c.vlan, err = strconv.Atoi(raw.BranchVLANID); err != nil || c.vlan < 1 || c.vlan > maxVLAN {
		return config{}, plugin.Invalid("branchVlanID", raw.BranchVLANID, `a VLAN id from "1" to "4094"`)
	}
	if c.mac, err = plugin.ParseMAC("branchMACAddress", raw.BranchMACAddress); err != nil {
		return config{}, err
	}
	if c.addresses, err = plugin.ParsePrefixes("ipAddresses", raw.IPAddresses); err != nil {
		return config{}, err
	}
	c.gateways, err = plugin.ParseAddresses("gatewayIPAddresses", raw.GatewayIPAddresses)
	return c, err
}

func list(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

// deviceName is the device's name until it has the task's: <trunk>.<id>, or brn<id>
// where that is longer than the kernel's 15 bytes.
func deviceName(trunk string, vlan int) string {
	const longest = 15
	if name := trunk + "." + strconv.Itoa(vlan); len(name) <= longest {
		return name
	}
	return "brn" + strconv.Itoa(vlan)
}
