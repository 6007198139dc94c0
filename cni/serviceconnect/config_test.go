package serviceconnect

import (
	"strings"
	"testing"
)

const natConf = `{"cniVersion":"0.3.0","name":"network-name","type":"ecs-serviceconnect",
	"ingressConfig":[{"listenerPort":40001,"interceptPort":8080}],
	"egressConfig":{"listenerPort":40002,"redirectIP":null,"redirectMode":"nat","vip":{"ipv4Cidr":"127.255.0.0/16","ipv6Cidr":"2002:f0a0::/64"}},
	"enableIPv4":true}`

func TestRefuses(t *testing.T) {
	for change, want := range map[string]string{
		`"enableIPv4":true=>"enableIPv4":false`:               "enableIPv4",
		`"listenerPort":40001=>"listenerPort":0`:              "ingressConfig[0].listenerPort: 0",
		`"interceptPort":8080=>"interceptPort":65536`:         "ingressConfig[0].interceptPort: 65536",
		`"listenerPort":40002=>"listenerPort":0`:              "egressConfig.listenerPort: 0",
		`"listenerPort":40002=>"listenerPort":70000`:          "egressConfig.listenerPort: 70000",
		`"redirectIP":null=>"redirectIP":{"ipv4":"10.0.0.1"}`: "not both",
		`"nat"=>"dnat"`:               `egressConfig.redirectMode: "dnat"`,
		`127.255.0.0/16=>127.255.0.0`: `egressConfig.vip.ipv4Cidr: "127.255.0.0"`,
		`"enableIPv4":true=>"enableIPv6":true,"enableIPv4":true`: "",
		`2002:f0a0::/64"}},"enableIPv4":true=>"`:                 "decode",
	} {
		from, to, _ := strings.Cut(change, "=>")
		text := strings.ReplaceAll(strings.ReplaceAll(natConf, "\n\t", ""), from, to)
		if strings.HasPrefix(change, "2002") {
			text = text[:len(text)-4]
		}
		_, err := parse([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v; want %q", change, err, want)
		}
	}
	for _, c := range []struct{ conf, want string }{
		{`{"enableIPv4":true}`, "egressConfig: null"},
		{`{"enableIPv6":true,"egressConfig":{"listenerPort":1,"redirectMode":"nat","vip":{"ipv4Cidr":"127.255.0.0/16"}}}`, "egressConfig.vip.ipv6Cidr"},
		{`{"enableIPv4":true,"egressConfig":{"redirectIP":{"ipv4":"x"},"redirectMode":"tproxy","vip":{"ipv4Cidr":"127.255.0.0/16"}}}`, `egressConfig.redirectIP.ipv4: "x"`},
		{`{"enableIPv4":true,"egressConfig":{"redirectIP":{"ipv4":"10.0.0.1"},"redirectMode":"nat","vip":{"ipv4Cidr":"127.255.0.0/16"}}}`, "because redirectMode is nat"},
	} {
		if _, err := parse([]byte(c.conf)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want %q", c.conf, err, c.want)
		}
	}
}

func TestLastEntryOfAListenerCounts(t *testing.T) {
	c, err := parse([]byte(`{"enableIPv4":true,"ingressConfig":[{"listenerPort":1,"interceptPort":80},{"listenerPort":2},{"listenerPort":1,"interceptPort":81}]}`))
	if err != nil || len(c.families[0].ingress) != 1 || c.families[0].ingress[0].from != 81 {
		t.Errorf("%+v %v", c, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(natConf))
	f.Add([]byte(`{"enableIPv4":true,"egressConfig":{"redirectIP":{"ipv4":"10.0.0.1"},"redirectMode":"tproxy","vip":{"ipv4Cidr":"127.255.0.0/16"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		if err != nil {
			return
		}
		for _, one := range c.families {
			if one.egress != 0 && one.via.IsValid() {
				t.Fatalf("%s gave %+v", data, one)
			}
			one.set()
		}
	})
}
