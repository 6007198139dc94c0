package task

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const connectConfig = `{"egressConfig":{"listenerName":"egress","vip":{"ipv4Cidr":"127.255.0.0/16","ipv6Cidr":"2002:f0a0::/64"}},
	"ingressConfig":[{"listenerName":"api","listenerPort":0,"interceptPort":8080},{"listenerName":"admin","listenerPort":40000,"interceptPort":8081}],
	"dnsConfig":[{"hostName":"orders.internal","address":"127.255.0.3"}]}`

// connected is a task with a proxy.
func connected(config string) *Spec {
	s := specOf("app", "proxy", "side")
	s.NetworkMode = "awsvpc"
	s.Containers[1].Image, s.Containers[1].HealthCheckType = "elsewhere:1", "docker"
	s.Containers[0].Ports = []PortMapping{{ContainerPort: 8080, Protocol: TCP}, {Range: "32768-60998", Protocol: TCP}}
	s.Attachments = []Attachment{{Type: "serviceconnectdetail", Properties: map[string]string{"ContainerName": "proxy", "ServiceConnectConfig": config}}}
	return s
}

func acceptConnected(s *Spec) (*Spec, string) {
	return Intake{Pause: Pause{Image: "pause:1"}}.Accept(s)
}

// The others wait for the proxy, which is the agent's image; what ECS left open is chosen
// once.
func TestConnect(t *testing.T) {
	roomy := connected(connectConfig)
	roomy.Containers[0].Ports = roomy.Containers[0].Ports[:1]
	got, reason := acceptConnected(roomy)
	if got == nil {
		t.Fatal(reason)
	}
	c, proxy := got.Connect, got.Containers[1]
	if proxy.Image != ConnectImage || proxy.Pulled() || proxy.DockerConfig != `{"User":"20000"}` || len(proxy.DependsOn) != 1 {
		t.Errorf("proxy %+v", proxy)
	}
	for _, i := range []int{0, 2} {
		if edges := got.Containers[i].DependsOn; edges[0] != (Dependency{Container: "proxy", Condition: DependsHealthy}) {
			t.Errorf("%s depends on %v", got.Containers[i].Name, edges)
		}
	}
	in, out := c.Ingress[0].Port, c.Egress.Port
	if in < firstListenerPort || out < firstListenerPort || in == out || c.Ingress[1].Port != 40000 {
		t.Errorf("ports %d and %d, %+v", in, out, c.Ingress)
	}
	if diff := cmp.Diff(map[string]ConnectPort{"api": in, "egress": out}, c.Chosen); diff != "" {
		t.Error(diff)
	}
	if c.Ingress[0].Intercept != 8080 || c.Egress.VIP.IPv6 != "2002:f0a0::/64" || c.Names[0] != (ConnectName{"orders.internal", "127.255.0.3"}) {
		t.Errorf("%+v", c)
	}
	again, _ := acceptConnected(got)
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("accepted again: %s", diff)
	}
	// What is in use is never chosen.
	for range 200 {
		one := connected(`{"ingressConfig":[{"listenerName":"api","interceptPort":8080}]}`)
		one.Containers[0].Ports[1].Range = "32768-60000"
		if got, reason := acceptConnected(one); got != nil && got.Connect.Ingress[0].Port <= 60000 {
			t.Fatalf("port %d is a container's", got.Connect.Ingress[0].Port)
		} else if got == nil && !strings.Contains(reason, "no port was found") {
			t.Fatal(reason)
		}
	}
}

func TestConnectRefused(t *testing.T) {
	for want, change := range map[string]func(*Spec){
		"no port was found for the Service Connect listener":                 func(*Spec) {},
		"not supported by this agent in network mode bridge; want awsvpc":    func(s *Spec) { s.NetworkMode = "bridge" },
		`ContainerName is "other": want the name of a container of the task`: func(s *Spec) { s.Attachments[0].Properties["ContainerName"] = "other" },
		"read ServiceConnectConfig":                                          func(s *Spec) { s.Attachments[0].Properties["ServiceConnectConfig"] = "{" },
		"Task dependencies cannot be resolved":                               func(s *Spec) { s.Containers[0].Ports, s.Containers[1].HealthCheckType = nil, "" },
		"docker config of container proxy":                                   func(s *Spec) { s.Containers[0].Ports, s.Containers[1].DockerConfig = nil, "{" },
	} {
		s := connected(connectConfig)
		change(s)
		got, reason := acceptConnected(s)
		if got != nil || !strings.Contains(reason, want) {
			t.Errorf("%q; want %q", reason, want)
		}
	}
	own := connected(connectConfig)
	own.Containers[0].Ports, own.Containers[1].DockerConfig = nil, `{"User":""}`
	if got, reason := acceptConnected(own); got == nil || got.Containers[1].DockerConfig != `{"User":""}` {
		t.Error(reason, fmt.Sprint(got))
	}
}
