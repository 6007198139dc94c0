package branch

import (
	"strings"
	"testing"
)

const conf = `{"cniVersion":"0.3.0","name":"network-name","type":"vpc-branch-eni",
	"trunkMACAddress":"06:aa:bb:cc:dd:01","branchVlanID":"42","branchMACAddress":"06:aa:bb:cc:dd:42",
	"ipAddresses":["10.20.1.7/24"],"gatewayIPAddresses":["10.20.1.1"],
	"blockInstanceMetadata":true,"interfaceType":"vlan"}`

func TestRefuses(t *testing.T) {
	for change, want := range map[string]string{
		`,"interfaceType":"vlan"=>`:                      `interfaceType: null; want "vlan"`,
		`"interfaceType":"vlan"=>"interfaceType":"tap"`:  `interfaceType: "tap"`,
		`"06:aa:bb:cc:dd:01"=>""`:                        "trunkMACAddress",
		`"06:aa:bb:cc:dd:01"=>"nonsense"`:                `trunkMACAddress: "nonsense"`,
		`"42"=>"0"`:                                      `branchVlanID: "0"`,
		`"42"=>"4095"`:                                   `branchVlanID: "4095"`,
		`"42"=>42`:                                       "branchVlanID",
		`"06:aa:bb:cc:dd:42"=>"06:aa:bb:cc:dd:42:00:00"`: "branchMACAddress",
		`10.20.1.7/24=>10.20.1.7`:                        `ipAddresses[0]: "10.20.1.7"`,
		`["10.20.1.1"]=>["10.20.1.1/24"]`:                `gatewayIPAddresses[0]: "10.20.1.1/24"`,
	} {
		from, to, _ := strings.Cut(change, "=>")
		if _, err := parse([]byte(strings.Replace(conf, from, to, 1)), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want %q", change, err, want)
		}
	}
}

func TestArgumentsGoFirst(t *testing.T) {
	c, err := parse([]byte(conf), "IgnoreUnknown=1;BranchVlanID=7;BranchMACAddress=06:00:00:00:00:07;IPAddresses=10.0.0.7/24,fd00::7/64;GatewayIPAddresses=10.0.0.1")
	if err != nil || c.vlan != 7 || c.mac.String() != "06:00:00:00:00:07" || len(c.addresses) != 2 || c.gateways[0].String() != "10.0.0.1" {
		t.Errorf("%+v %v", c, err)
	}
}

func TestDeviceName(t *testing.T) {
	for trunk, want := range map[string]string{"eth1": "eth1.4094", "enp0s31f6v": "enp0s31f6v.4094", "enp0s31f6v0": "brn4094"} {
		if got := deviceName(trunk, 4094); got != want {
			t.Errorf("%s: got %s; want %s", trunk, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(conf), "BranchVlanID=7;IPAddresses=10.0.0.7/24")
	f.Fuzz(func(t *testing.T, data []byte, args string) {
		c, err := parse(data, args)
		if err == nil && (c.vlan < 1 || c.vlan > maxVLAN || len(c.mac) != 6 || c.trunkName == "" && len(c.trunkMAC) != 6) {
			t.Fatalf("%s %q gave %+v", data, args, c)
		}
	})
}
