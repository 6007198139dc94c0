package tasknet

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"ecsagent/agent/task"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		play(role) // of a plugin, and of what it starts
		return
	}
	goleak.VerifyTestMain(m)
}

var update = flag.Bool("update", false, "write the golden files")

func addressesOf(texts ...string) (list []task.Address) {
	for i, t := range texts {
		list = append(list, task.Address{Address: t, Primary: i == 0})
	}
	return list
}

func ipv4() task.ENI {
	return task.ENI{EC2ID: "eni-0abc12345", MAC: "06:1F:2e:3d:4c:5b", IPv4: addressesOf("10.20.1.37"), SubnetGatewayIPv4: "10.20.1.1/24"}
}

// meshed is a task with a proxy.
func meshed(e task.ENI) task.Spec {
	return task.Spec{ENIs: []task.ENI{e}, Containers: []task.Container{{Name: "envoy"}}, Proxy: &task.Proxy{ContainerName: "envoy", Properties: map[string]string{
		"IgnoredUID": "1337", "ProxyIngressPort": "15000", "ProxyEgressPort": "15001", "AppPorts": "8080, 9090", "EgressIgnoredPorts": "22", "EgressIgnoredIPs": "192.0.2.0/24",
	}}}
}

// connected is a task with Service Connect, as it is once it was accepted.
func connected(e task.ENI) task.Spec {
	c := &task.Connect{Container: "proxy", Ingress: []task.ConnectListener{{Name: "api", Port: 40001, Intercept: 8080}}, Egress: &task.ConnectEgress{Name: "egress", Port: 40002}}
	c.Egress.VIP.IPv4, c.Egress.VIP.IPv6 = "127.255.0.0/16", "2002:f0a0::/64"
	return task.Spec{ENIs: []task.ENI{e}, Connect: c}
}

// A proxy that cannot work is refused with the property.
func TestMeshRefused(t *testing.T) {
	for want, change := range map[string]map[string]string{
		"properties IgnoredUID and IgnoredGID are empty":         {"IgnoredUID": ""},
		`property IgnoredUID is "envoy": want a number`:          {"IgnoredUID": "envoy"},
		`property ProxyEgressPort is "": want a port`:            {"ProxyEgressPort": ""},
		`property ProxyIngressPort is "0": want a port`:          {"ProxyIngressPort": "0"},
		"property AppPorts is empty: want the application's":     {"AppPorts": ""},
		`property AppPorts is "http": want a port`:               {"AppPorts": "80,http"},
		`property EgressIgnoredPorts is "70000": want a port`:    {"EgressIgnoredPorts": "70000"},
		`property EgressIgnoredIPs has "here": want an address`:  {"EgressIgnoredIPs": "192.0.2.1,here"},
		`containerName is "other": want the name of a container`: nil,
	} {
		spec := meshed(ipv4())
		maps.Copy(spec.Proxy.Properties, change)
		if change == nil {
			spec.Proxy.ContainerName = "other"
		}
		if _, err := NewPlan(&spec, Settings{}); err == nil || !strings.HasPrefix(err.Error(), "proxyConfiguration: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
}

// TestBridgedPlans compares what the plugin gets in the namespaces of pause containers of
// mode bridge.
func TestBridgedPlans(t *testing.T) {
	v4, v6 := netip.MustParseAddr("172.17.0.2"), netip.MustParseAddr("fd00::2")
	spec := connected(task.ENI{})
	c := spec.Connect
	const head = `{"cniVersion":"0.3.0","name":"network-name","type":"ecs-serviceconnect","egressConfig":`
	for _, tt := range []struct {
		name    string
		ofProxy bool
		v4, v6  netip.Addr
		want    string
	}{
		{"proxy", true, v4, netip.Addr{}, head + `{"listenerPort":40002,"redirectIP":null,"redirectMode":"tproxy","vip":{"ipv4Cidr":"127.255.0.0/16","ipv6Cidr":"2002:f0a0::/64"}},"enableIPv4":true}`},
		{"application", false, v4, netip.Addr{}, head + `{"listenerPort":0,"redirectIP":{"ipv4":"172.17.0.2"},"redirectMode":"tproxy","vip":{"ipv4Cidr":"127.255.0.0/16","ipv6Cidr":"2002:f0a0::/64"}},"enableIPv4":true}`},
		{"both families", false, v4, v6, head + `{"listenerPort":0,"redirectIP":{"ipv4":"172.17.0.2","ipv6":"fd00::2"},"redirectMode":"tproxy","vip":{"ipv4Cidr":"127.255.0.0/16","ipv6Cidr":"2002:f0a0::/64"}},"enableIPv4":true,"enableIPv6":true}`},
		{"no address", false, netip.Addr{}, netip.Addr{}, ""},
	} {
		p, err := NewBridgedPlan(c, tt.ofProxy, tt.v4, tt.v6)
		got := ""
		if err == nil && len(p.Steps) == 1 && p.Steps[0].Plugin == "ecs-serviceconnect" && bytes.Equal(p.Steps[0].Config, p.Steps[0].Delete) {
			got = string(p.Steps[0].Config)
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: %s (%v); want %s", tt.name, got, err, tt.want)
		}
	}
	if p, err := NewBridgedPlan(&task.Connect{}, true, v4, v6); err != nil || len(p.Steps) != 0 {
		t.Errorf("without services: %+v %v", p, err)
	}
}

// TestPlans compares what the plugins get with docs/spec/05 section 4.5.
func TestPlans(t *testing.T) {
	dual, v6, branch := ipv4(), ipv4(), ipv4()
	dual.IPv6 = addressesOf("2001:db8:20:1::38")
	v6.IPv4, v6.SubnetGatewayIPv4, v6.IPv6, v6.SubnetGatewayIPv6 = nil, "", addressesOf("2001:db8:20:2::39"), "fe80::406:1fff:fe00:1/64"
	branch.AssociationProtocol, branch.VLANID, branch.TrunkMAC = "vlan", "42", "06:aa:bb:cc:dd:01"
	dualGateway := dual
	dualGateway.SubnetGatewayIPv6 = "2001:db8:20:1::1/64"
	for name, c := range map[string]struct {
		spec     task.Spec
		settings Settings
	}{
		"ipv4":               {task.Spec{ENIs: []task.ENI{ipv4()}}, Settings{BlockMetadata: true, LocalRoutes: []netip.Prefix{netip.MustParsePrefix("10.0.15.0/24")}}},
		"dual":               {task.Spec{ENIs: []task.ENI{dual}}, Settings{}},
		"dual-with-gateways": {task.Spec{ENIs: []task.ENI{dualGateway}}, Settings{}},
		"ipv6":               {task.Spec{ENIs: []task.ENI{v6}}, Settings{BlockMetadata: true}},
		"branch":             {task.Spec{ENIs: []task.ENI{branch}}, Settings{LocalAddress: netip.MustParsePrefix("169.254.172.42/22")}},
		"mesh":               {meshed(ipv4()), Settings{}},
		"mesh-dual":          {meshed(dual), Settings{}},
		"connect":            {connected(ipv4()), Settings{}},
		"connect-dual":       {connected(dual), Settings{}},
	} {
		p, err := NewPlan(&c.spec, c.settings)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got bytes.Buffer
		write := func(what string, config []byte) {
			got.WriteString(what + "\n")
			if err := json.Indent(&got, config, "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteString("\n")
		}
		for _, s := range p.Steps {
			write("ADD "+s.Plugin+" "+s.IfName, s.Config)
			if !bytes.Equal(s.Config, s.Delete) {
				write("DEL "+s.Plugin+" "+s.IfName, s.Delete)
			}
		}
		write("DEL ecs-ipam", p.Release)
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for want, change := range map[string]func(*task.ENI){
		`elastic network interface eni-0abc12345: MAC address "x"`: func(e *task.ENI) { e.MAC = "x" },
		`it has no address`: func(e *task.ENI) { e.IPv4 = nil },
		`subnetGatewayIpv4Address "": want the gateway with the subnet's prefix length`: func(e *task.ENI) { e.SubnetGatewayIPv4 = "" },
		`subnetGatewayIpv4Address "10.20.1.1": want`:                                    func(e *task.ENI) { e.SubnetGatewayIPv4 = "10.20.1.1" },
		`task ENI is IPv6-only but has no IPv6 subnet gateway address`:                  func(e *task.ENI) { e.IPv4, e.IPv6 = nil, addressesOf("fd00::1") },
		`address "here": want an address in a subnet of prefix length 24`:               func(e *task.ENI) { e.IPv4 = addressesOf("here") },
		`association protocol "tunnel": want "default" or "vlan"`:                       func(e *task.ENI) { e.AssociationProtocol = "tunnel" },
	} {
		e := ipv4()
		change(&e)
		if _, err := NewPlan(&task.Spec{ENIs: []task.ENI{e}}, Settings{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
	for _, enis := range [][]task.ENI{nil, {ipv4(), ipv4()}} {
		if _, err := NewPlan(&task.Spec{ENIs: enis}, Settings{}); err == nil {
			t.Errorf("%d interfaces accepted", len(enis))
		}
	}
}
