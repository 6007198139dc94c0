package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ecsagent/tests/harness"
)

// page is a container whose web servers answer with the port they listen on.
func page(name string, mappings []M, ports ...int) M {
	var script strings.Builder
	for _, p := range ports {
		fmt.Fprintf(&script, "mkdir /work/%d; echo %d >/work/%d/index.html; httpd -p %d -h /work/%d; ", p, p, p, p, p)
	}
	return sleeper(name, M{"portMappings": mappings, "command": []string{"sh", "-c", script.String() + "trap 'exit 0' TERM; sleep 3600 & while :; do wait; done"}})
}

func (e *env) get(port int) string {
	e.t.Helper()
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var body string
	e.eventually(10*time.Second, fmt.Sprintf("port %d to answer", port), func() (bool, error) {
		r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			return false, err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		body = strings.TrimSpace(string(b))
		return err == nil && r.StatusCode == http.StatusOK, err
	})
	return body
}

func binding(c harness.Container, port int, protocol string) harness.Binding {
	for _, b := range c.NetworkBindings {
		if b.ContainerPort == port && b.Protocol == protocol && !strings.Contains(b.BindIP, ":") {
			return b
		}
	}
	return harness.Binding{}
}

func TestPorts(t *testing.T) {
	e := start(t)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	static := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	task := e.running(bridged(page("web", []M{
		{"containerPort": 80, "hostPort": 0},
		{"containerPort": 81, "hostPort": static, "protocol": "tcp"},
		{"containerPort": 53, "hostPort": 0, "protocol": "udp"},
	}, 80, 81)))
	web := task.Container("web")
	dynamic := binding(web, 80, "tcp")
	if dynamic.HostPort == 0 || dynamic.HostPort == 80 {
		t.Fatalf("no dynamic host port:\n%s", pretty(web.NetworkBindings))
	}
	equal(t, "page on the dynamic port", e.get(dynamic.HostPort), "80")
	equal(t, "static host port", binding(web, 81, "tcp").HostPort, static)
	equal(t, "page on the static port", e.get(static), "81")
	if binding(web, 53, "udp").HostPort == 0 {
		t.Errorf("no UDP binding:\n%s", pretty(web.NetworkBindings))
	}
	for _, b := range web.NetworkBindings {
		if b.BindIP != "0.0.0.0" {
			t.Errorf("a binding on %s is reported, and the setting is on that leaves it out", b.BindIP)
		}
	}
	e.stop(task.TaskARN)
}

func TestPortRange(t *testing.T) {
	e := start(t, "ECS_EXCLUDE_IPV6_PORTBINDING=false")
	task := e.running(bridged(page("web", []M{{"containerPortRange": "8000-8003", "protocol": "tcp"}}, 8000, 8003)))
	var found harness.Binding
	for _, b := range task.Container("web").NetworkBindings {
		if b.ContainerPortRange != "" && !strings.Contains(b.BindIP, ":") {
			found = b
		}
	}
	equal(t, "container port range", found.ContainerPortRange, "8000-8003")
	var first, last int
	if _, err := fmt.Sscanf(found.HostPortRange, "%d-%d", &first, &last); err != nil || last != first+3 {
		t.Fatalf("host port range %q, want four ports", found.HostPortRange)
	}
	equal(t, "page on the first port", e.get(first), "8000")
	equal(t, "page on the last port", e.get(last), "8003")
	// Docker has bound the ports of IPv6 too: one entry for each address.
	var six []harness.Binding
	for _, b := range task.Container("web").NetworkBindings {
		if b.BindIP == "::" {
			six = append(six, b)
		}
	}
	if len(task.Container("web").NetworkBindings) != 2 || len(six) != 1 || six[0].ContainerPortRange != "8000-8003" {
		t.Errorf("bindings of both families:\n%s", pretty(task.Container("web").NetworkBindings))
	}
	e.stop(task.TaskARN)
}

func TestHostPortInUse(t *testing.T) {
	e := start(t)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	task := e.stopped(e.launch(bridged(page("web", []M{{"containerPort": 80, "hostPort": taken}}, 80))))
	contains(t, "reason", task.Container("web").Reason, "CannotStartContainerError: Error response from daemon: ", "address already in use")
	e.alive()
}

func TestHostNetwork(t *testing.T) {
	e := start(t)
	def := bridged(sleeper("app", M{"portMappings": []M{{"containerPort": 65535}}})) // nobody listens
	def["networkMode"] = "host"
	task := e.running(def)
	equal(t, "network mode", string(e.inspect(task, "app").HostConfig.NetworkMode), "host")
	equal(t, "published ports", len(task.Container("app").NetworkBindings), 0)
	e.stop(task.TaskARN)
}

func TestNoNetwork(t *testing.T) {
	e := start(t)
	def := bridged(sleeper("app"))
	def["networkMode"] = "none"
	task := e.running(def)
	equal(t, "network mode", string(e.inspect(task, "app").HostConfig.NetworkMode), "none")
	equal(t, "published ports", len(task.Container("app").NetworkBindings), 0)
	links, err := e.exec(task.Container("app").RuntimeID, "sh", "-c", "ls /sys/class/net; ip route")
	if err != nil || strings.TrimSpace(links) != "lo" {
		t.Errorf("links and routes %q (%v), want loopback alone", links, err)
	}
	e.stop(task.TaskARN)
}
