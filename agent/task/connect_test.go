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
		"not supported in network mode host; want awsvpc or bridge":          func(s *Spec) { s.NetworkMode = "host" },
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

// bridged is a task with a proxy in mode bridge.
func bridged() *Spec {
	s := connected(`{"egressConfig":{"listenerName":"egress","vip":{"ipv4Cidr":"10.213.0.0/16"}},
		"ingressConfig":[{"listenerName":"api","listenerPort":40001,"interceptPort":8080},{"listenerName":"admin","listenerPort":40002,"hostPort":9000}]}`)
	s.NetworkMode = "bridge"
	s.Containers[0].Ports = s.Containers[0].Ports[:1]
	s.Containers[0].DockerConfig = `{"Hostname":"web","Env":["A=b"]}`
	s.Containers[0].DockerHostConfig = `{"Dns":["192.0.2.1"],"ExtraHosts":["printer:192.0.2.9"],"Memory":4}`
	return s
}

// Each container has a pause container of its own, with its ports and names. The proxy's
// is there first, and all of them are there before the proxy.
func TestConnectBridged(t *testing.T) {
	got, reason := acceptConnected(bridged())
	if got == nil {
		t.Fatal(reason)
	}
	if len(got.Containers) != 6 || got.NetworkContainer() != -1 || !got.ConnectsBridged() {
		t.Fatalf("containers %+v", got.Containers)
	}
	const ofApp, ofProxy, ofSide = "~internal~ecs~pause-app", "~internal~ecs~pause-proxy", "~internal~ecs~pause-side"
	waits := map[string][]Dependency{
		"app":   {{"proxy", DependsHealthy}, {ofApp, DependsStart}},
		"proxy": {{ofApp, DependsStart}, {ofProxy, DependsStart}, {ofSide, DependsStart}},
		"side":  {{"proxy", DependsHealthy}, {ofSide, DependsStart}},
		ofApp:   {{ofProxy, DependsStart}}, ofProxy: nil, ofSide: {{ofProxy, DependsStart}},
	}
	for i := range got.Containers {
		c := &got.Containers[i]
		if diff := cmp.Diff(waits[c.Name], c.DependsOn); diff != "" {
			t.Errorf("%s: %s", c.Name, diff)
		}
		if c.Internal() {
			if c.Type != CNIPause || !c.Essential || c.Image != "pause:1" || got.NetworkOf(i) != -1 {
				t.Errorf("pause %+v", c)
			}
			continue
		}
		if pause := got.NetworkOf(i); got.Containers[pause].Name != ConnectPauseName(c.Name) || got.Published(i) != nil {
			t.Errorf("%s joins %d and publishes %v", c.Name, pause, got.Published(i))
		}
	}
	pause := got.Containers[got.Index(ofApp)]
	if pause.DockerConfig != `{"Hostname":"web"}` || pause.DockerHostConfig != `{"Dns":["192.0.2.1"],"ExtraHosts":["printer:192.0.2.9"]}` {
		t.Errorf("names %q %q", pause.DockerConfig, pause.DockerHostConfig)
	}
	if diff := cmp.Diff(got.Containers[0].Ports, got.Published(got.Index(ofApp))); diff != "" {
		t.Error(diff)
	}
	want := []PortMapping{{ContainerPort: 40001, Protocol: TCP}, {ContainerPort: 40002, HostPort: 9000, Protocol: TCP}}
	if diff := cmp.Diff(want, got.Published(got.Index(ofProxy))); diff != "" {
		t.Error(diff)
	}
	if got.Connect.Ingress[0].Intercept != 0 {
		t.Error("a port in another network is intercepted")
	}
	again, _ := acceptConnected(got)
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("accepted again: %s", diff)
	}
	if got, reason := (Intake{}).Accept(bridged()); got != nil || !strings.Contains(reason, "needs the pause image") {
		t.Error(reason)
	}
	for _, change := range []func(*Container){func(c *Container) { c.DockerConfig = "[" }, func(c *Container) { c.DockerHostConfig = "[" }} {
		bad := bridged()
		change(&bad.Containers[2])
		if got, reason := acceptConnected(bad); got != nil || !strings.Contains(reason, "config of container side") {
			t.Error(reason)
		}
	}
}

// Pause containers are created and started together; the network of the others waits for
// the proxy's.
func TestConnectPausesStartTogether(t *testing.T) {
	spec, reason := acceptConnected(bridged())
	if spec == nil {
		t.Fatal(reason)
	}
	st := NewState(spec, Running, t0)
	for status := ContainerManifestPulled; status <= ContainerRunning; status++ {
		for _, name := range []string{"app", "side", "proxy"} {
			i := spec.Index(ConnectPauseName(name))
			if v := dependencies(spec, &st, i, status, t0); v.wait != nil || v.err != nil {
				t.Errorf("pause of %s waits before %s: %+v", name, status, v)
			}
			st.Containers[i].Known = status
		}
	}
	of := func(name string) verdict {
		return dependencies(spec, &st, spec.Index(ConnectPauseName(name)), ContainerResourcesProvisioned, t0)
	}
	if of("proxy").wait != nil || of("app").wait == nil || of("side").wait == nil {
		t.Errorf("proxy %+v, app %+v", of("proxy"), of("app"))
	}
	st.Containers[spec.Index(ConnectPauseName("proxy"))].Known = ContainerResourcesProvisioned
	if of("app").wait != nil {
		t.Errorf("app %+v", of("app"))
	}
}
