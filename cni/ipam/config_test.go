package ipam

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	c, err := parse([]byte(`{"cniVersion":"0.3.0","name":"n","type":"ecs-bridge","ipam":{"type":"ecs-ipam","id":"06:1f:2e:3d:4c:5b",
		"ipv4-subnet":"169.254.172.0/22","ipv4-address":"169.254.172.42/22","ipv4-routes":[{"dst":"169.254.170.2/32"},{"dst":"10.0.15.0/24","gw":"169.254.172.3"}],
		"ipv6-subnet":"fd00:172::8/64"}}`))
	if err != nil {
		t.Fatal(err)
	}
	v4, v6 := c.families[0], c.families[1]
	if v4.gateway.String() != "169.254.172.1" || v4.fixed.String() != "169.254.172.42" || v4.broadcast().String() != "169.254.175.255" {
		t.Errorf("%+v", v4)
	}
	if v6.gateway.String() != "fd00:172::9" || v6.subnet.String() != "fd00:172::/64" {
		t.Errorf("%+v", v6)
	}
	if len(c.routes) != 2 || c.routes[1].gateway.String() != "169.254.172.3" || c.routes[0].gateway.IsValid() {
		t.Errorf("%+v", c.routes)
	}
}

func TestRefuses(t *testing.T) {
	for ipam, want := range map[string]string{
		`null`: "ipam: null", `{}`: "ipam.ipv4-subnet",
		`{"ipv4-subnet":"169.254.172.0/31"}`:                                                                     "prefix length of at most 30",
		`{"ipv6-subnet":"fd00::/127"}`:                                                                           "prefix length of at most 126",
		`{"ipv4-subnet":"fd00::/64"}`:                                                                            "ipam.ipv4-subnet",
		`{"ipv4-subnet":"10.0.0.0"}`:                                                                             "ipam.ipv4-subnet",
		`{"ipv4-subnet":"10.0.0.0/24","ipv4-gateway":"10.0.1.1"}`:                                                "ipam.ipv4-gateway",
		`{"ipv4-subnet":"10.0.0.0/24","ipv4-gateway":"10.0.0.255"}`:                                              "ipam.ipv4-gateway",
		`{"ipv4-subnet":"10.0.0.254/24"}`:                                                                        "ipam.ipv4-gateway",
		`{"ipv4-subnet":"10.0.0.0/24","ipv4-address":"10.0.0.0"}`:                                                "ipam.ipv4-address",
		`{"ipv4-subnet":"10.0.0.0/24","ipv4-address":"10.0.0.1"}`:                                                "ipam.ipv4-address",
		`{"ipv4-subnet":"10.0.0.0/24","ipv4-address":"10.9.0.1/24"}`:                                             "ipam.ipv4-address",
		`{"ipv4-subnet":"10.0.0.0/24","ipv6-address":"fd00::2"}`:                                                 "ipam.ipv6-subnet",
		`{"ipv4-subnet":"10.0.0.0/24","ipv4-routes":[{"dst":"fd00::/8"}]}`:                                       "ipam.ipv4-routes[0].dst",
		`{"ipv4-subnet":"10.0.0.0/24","ipv4-routes":[{"dst":"0/0"}]}`:                                            "ipam.ipv4-routes[0].dst",
		`{"ipv4-subnet":"10.0.0.0/24","ipv4-routes":[{"dst":"1.0.0.0/8","gw":""},{"dst":"1.0.0.0/8","gw":"x"}]}`: "ipam.ipv4-routes[1].gw",
		`{"ipv4-subnet":"10.0.0.0/24","id":"GateWay"}`:                                                           "ipam.id",
		`{"ipv4-subnet":7}`: "ipv4-subnet",
	} {
		conf := `{"cniVersion":"0.3.0","name":"n","ipam":` + ipam + `}`
		if _, err := parse([]byte(conf)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want %q", ipam, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"ipam":{"id":"a","ipv4-subnet":"169.254.172.0/22","ipv4-routes":[{"dst":"169.254.170.2/32"}]}}`))
	f.Add([]byte(`{"ipam":{"ipv6-subnet":"fd00::/64","ipv6-address":"fd00::5","ipv6-gateway":"fd00::9"}}`))
	f.Add([]byte(`{"ipam":{"ipv4-subnet":"255.255.255.252/30"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		if err != nil {
			return
		}
		for _, one := range c.families {
			if one.subnet.Addr().Is6() && one.subnet.Bits() < 120 || one.subnet.Addr().Is4() && one.subnet.Bits() < 24 {
				continue
			}
			a, err := one.allocate(memory{}, "owner")
			if err == nil && !one.usable(a) {
				t.Fatalf("%s gave %s", data, a)
			}
		}
	})
}
