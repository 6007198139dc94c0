package appmesh

import (
	"strings"
	"testing"
)

const conf = `{"cniVersion":"0.3.0","name":"network-name","type":"aws-appmesh","ignoredUID":"1337","ignoredGID":"",
	"proxyIngressPort":"15000","proxyEgressPort":"15001","appPorts":["8080","9090"],
	"egressIgnoredPorts":["22"],"egressIgnoredIPs":["192.0.2.0/24","169.254.170.2","169.254.169.254","fd00::1"]}`

func TestRefuses(t *testing.T) {
	for change, want := range map[string]string{
		`"ignoredUID":"1337"=>"ignoredUID":""`:     "ignoredUID",
		`"ignoredUID":"1337"=>"ignoredUID":"root"`: `ignoredUID: "root"`,
		`"15001"=>""`:                       `proxyEgressPort: ""`,
		`"15000"=>""`:                       `proxyIngressPort: ""`,
		`"15000"=>"0"`:                      `proxyIngressPort: "0"`,
		`["8080","9090"]=>[]`:               "appPorts",
		`["8080","9090"]=>["8080","65536"]`: `appPorts[1]: "65536"`,
		`["22"]=>["22",""]`:                 `egressIgnoredPorts[1]: ""`,
		`"169.254.170.2"=>"here"`:           `egressIgnoredIPs[1]: "here"`,
		`"15000","proxyEgressPort"=>"","proxyEgressPort"`: "proxyIngressPort",
		`["8080","9090"]=>"8080"`:                         "appPorts",
	} {
		from, to, _ := strings.Cut(change, "=>")
		if _, err := parse([]byte(strings.Replace(conf, from, to, 1))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want %q", change, err, want)
		}
	}
}

// TestEmptyLists: one empty text is an empty list, but counts as one when the pair of
// ingress port and application ports is checked.
func TestEmptyLists(t *testing.T) {
	c, err := parse([]byte(strings.NewReplacer(`["8080","9090"]`, `[""]`, `["22"]`, `null`).Replace(conf)))
	if err != nil {
		t.Fatal(err)
	}
	for _, chain := range c.sets()[0].Chains {
		if chain.Name == ingressChain {
			t.Error("there is an ingress chain")
		}
	}
	if _, err := parse([]byte(strings.NewReplacer(`["8080","9090"]`, `[""]`, `"15000"`, `""`).Replace(conf))); err == nil {
		t.Error("accepted without an ingress port")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(conf))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		if err != nil {
			return
		}
		if c.egress == 0 || c.uid == nil && c.gid == nil || len(c.appPorts) > 0 && c.ingress == 0 {
			t.Fatalf("%s gave %+v", data, c)
		}
		c.sets()
	})
}
