package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/cni/eni"
	"ecsagent/tests/harness"
	"ecsagent/tests/image"
)

// meshProxy pushes the program that plays a proxy and returns its image.
func (v *vpcEnv) meshProxy(name string) string {
	v.t.Helper()
	program := filepath.Join(v.t.TempDir(), "meshproxy")
	build := exec.CommandContext(v.ctx, "go", "build", "-o", program, "ecsagent/tests/meshproxy")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		v.t.Fatalf("build the proxy: %v\n%s", err, out)
	}
	img, err := image.Program(program, v1.Config{})
	if err != nil {
		v.t.Fatal(err)
	}
	ref, _, err := shared.registry.Push(v.ctx, name, img)
	if err != nil {
		v.t.Fatal(err)
	}
	return ref
}

// inSubnet serves pages with their server's address as the text.
func (v *vpcEnv) inSubnet(addresses ...string) {
	v.t.Helper()
	lo, err := v.subnet.ByName("lo")
	if err != nil {
		v.t.Fatal(err)
	}
	for _, address := range addresses {
		at := netip.MustParseAddrPort(address)
		if ip := at.Addr(); ip != netip.MustParseAddr(v.network+".1") && ip != netip.MustParseAddr("fd20:ec5::1") {
			if err := eni.AddAddress(v.subnet, lo, netip.PrefixFrom(ip, ip.BitLen())); err != nil {
				v.t.Fatal(err)
			}
		}
		var l net.Listener
		if err := v.subnet.Do(func() (err error) {
			l, err = new(net.ListenConfig).Listen(v.ctx, "tcp", address)
			return err
		}); err != nil {
			v.t.Fatal(err)
		}
		server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, address) })}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				v.t.Error(err)
			}
		}()
		v.t.Cleanup(func() {
			_ = server.Close()
			<-ended
		})
	}
}

// passed waits until the proxy has said that a connection went through it.
func (e *env) passed(t harness.Task, proxy, what string) {
	e.t.Helper()
	e.eventually(patience, "the proxy to pass "+what, func() (bool, error) {
		said := e.output(t, proxy)
		if !strings.Contains("\n"+said, "\n"+what+"\n") {
			return false, fmt.Errorf("it says %q", said)
		}
		return true, nil
	})
}

// An App Mesh proxy, played by tests/meshproxy, has the task's traffic in both directions
// and families, but for what is left out: its own, ports and addresses that the definition
// names, loopback, and the addresses of credentials and instance metadata.
func TestAWSVPCAppMesh(t *testing.T) {
	v := withVPC(t, subnet6)
	if !v.hasAttribute("ecs.capability.aws-appmesh") {
		t.Error("ecs.capability.aws-appmesh is not advertised")
	}
	gateway := v.network + ".1"
	plain, port, address := gateway+":9000", gateway+":9001", "10.99.0.1:9000"
	plain6 := "[fd20:ec5::1]:9000"
	v.inSubnet(plain, port, address, plain6)
	proxy := v.meshProxy("meshproxy:1")
	def := withRoles(vpcDefinition(
		M{
			"name": "envoy", "image": proxy, "essential": true, "memory": 64, "user": "1337", "command": []string{"serve", "15000", "15001"},
			"healthCheck": M{"command": []string{"CMD", "/meshproxy", "health", "15000"}, "interval": 5, "startPeriod": 1},
		},
		server("app", "meshed"),
	))
	def["containerDefinitions"].([]M)[1]["dependsOn"] = []M{{"containerName": "envoy", "condition": "HEALTHY"}}
	def["proxyConfiguration"] = M{"type": "APPMESH", "containerName": "envoy", "properties": []M{
		{"name": "IgnoredUID", "value": "1337"}, {"name": "ProxyIngressPort", "value": "15000"}, {"name": "ProxyEgressPort", "value": "15001"},
		{"name": "AppPorts", "value": "8080"}, {"name": "EgressIgnoredPorts", "value": "9001, 22"}, {"name": "EgressIgnoredIPs", "value": "10.99.0.0/24"},
	}}
	task := v.running(def)
	at := v.serves(task, "meshed")
	v.passed(task, "envoy", "ingress "+at+":8080")
	at6 := task.Container("app").Interfaces[0].IPv6
	v.servesOn(at6, "meshed")
	v.passed(task, "envoy", "ingress ["+at6+"]:8080")

	fetched := func(url string) string {
		t.Helper()
		return v.inTask(task, "app", "timeout 60 wget -qO- http://"+url)
	}
	for _, to := range []string{plain, plain6, port, address} {
		equal(t, "page at "+to, fetched(to), to)
	}
	equal(t, "page on loopback", fetched("127.0.0.1:8080/name"), "meshed")
	contains(t, "credentials", v.inTask(task, "app", "timeout 60 wget -qO- http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), taskRole)
	for _, host := range []string{"169.254.169.254", "[fd00:ec2::254]"} {
		contains(t, "instance metadata at "+host, fetched(host+"/latest/meta-data/instance-id"), "i-")
	}
	v.passed(task, "envoy", "egress "+plain)
	v.passed(task, "envoy", "egress "+plain6)
	for line := range strings.Lines(v.output(task, "envoy")) {
		if to := strings.TrimSpace(line); to != "egress "+plain && to != "egress "+plain6 && !strings.HasPrefix(to, "ingress ") {
			t.Errorf("the proxy had %q", to)
		}
	}
	first, second := v.inspect(task, "envoy").State, v.inspect(task, "app").State
	started, err := time.Parse(time.RFC3339Nano, second.StartedAt)
	if err != nil || first.Health == nil || len(first.Health.Log) == 0 || started.Before(first.Health.Log[0].End) {
		t.Errorf("the application started at %s, before the proxy was healthy: %+v %v", second.StartedAt, first.Health, err)
	}

	// A mesh that cannot work is refused before anything is made.
	def["proxyConfiguration"].(M)["properties"].([]M)[2]["value"] = "none"
	bad := v.stopped(v.launch(def))
	contains(t, "reason", bad.StoppedReason, `proxyConfiguration: property ProxyEgressPort is "none": want a port`)
	// Without the redirection the page comes all the same, and past the proxy.
	before := v.output(task, "envoy")
	v.onHost(fmt.Sprintf("nsenter --net=/proc/%d/ns/net nft delete table ip ecs_appmesh || nsenter --net=/proc/%[1]d/ns/net iptables -t nat -F OUTPUT", v.inspect(task, "app").State.Pid))
	equal(t, "page past the proxy", fetched(plain), plain)
	if after := v.output(task, "envoy"); after != before {
		t.Errorf("the proxy had more: %q", strings.TrimPrefix(after, before))
	}
	v.stop(task.TaskARN)
	v.nothingLeft()
}
