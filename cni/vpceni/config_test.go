package vpceni

import (
	"strings"
	"testing"
)

func TestRefuses(t *testing.T) {
	for conf, want := range map[string]string{
		`{}`:                        "eniMACAddress: \"\"",
		`{"eniMACAddress":"06:1f"}`: `eniMACAddress: "06:1f"; want a MAC address such as`,
		`{"eniName":"ens6"}`:        "eniIPAddresses: null; want at least one",
		`{"eniName":"ens6","eniIPAddresses":["10.0.0.1"]}`:                                    `eniIPAddresses[0]: "10.0.0.1"`,
		`{"eniName":"ens6","eniIPAddresses":["10.0.0.1/24"],"gatewayIPAddresses":["10.0.0"]}`: `gatewayIPAddresses[0]: "10.0.0"`,
		`{"eniName":"ens6","eniIPAddresses":"10.0.0.1/24"}`:                                   "eniIPAddresses",
		`{"eniName":"ens6","eniIPAddresses":["0.0.0.0/0"]}`:                                   `eniIPAddresses[0]: "0.0.0.0/0"`,
	} {
		if _, err := parse([]byte(conf)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want %q", conf, err, want)
		}
	}
	for conf, want := range map[string]string{
		`{}`:                                    `eni: ""`,
		`{"eni":"e"}`:                           `mac: ""`,
		`{"eni":"e","mtu":-5}`:                  "mtu: -5",
		`{"eni":"e","mac":"06:1f:2e:3d:4c:5b"}`: "ip-addresses: null",
	} {
		if _, err := parseLegacy([]byte(conf)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want %q", conf, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"eniMACAddress":"06:1f:2e:3d:4c:5b","eniIPAddresses":["10.20.1.37/24"],"gatewayIPAddresses":["10.20.1.1"],"blockInstanceMetadata":true}`))
	f.Add([]byte(`{"eni":"eni-1","mac":"06:1f:2e:3d:4c:5b","ip-addresses":["fd00::1/64"],"mtu":9001}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func([]byte) (config, error){parse, parseLegacy} {
			if c, err := parse(data); err == nil && (len(c.addresses) == 0 || c.name == "" && len(c.mac) != 6) {
				t.Fatalf("%s gave %+v", data, c)
			}
		}
	})
}
