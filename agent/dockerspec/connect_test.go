package dockerspec

import (
	"slices"
	"strings"
	"testing"

	"ecsagent/agent/task"
)

// bridgedConnect is a task with Service Connect in mode bridge, as it is once it was
// accepted and its pause containers run.
func bridgedConnect(t *testing.T) (*task.Spec, *task.State) {
	t.Helper()
	spec := &task.Spec{
		ARN: testARN, Family: "f", Version: "1", NetworkMode: "bridge",
		Containers: []task.Container{
			{
				Name: "app", Image: "i", Ports: []task.PortMapping{{ContainerPort: 8080, HostPort: 9000, Protocol: task.TCP}},
				DockerConfig: `{"Hostname":"web"}`, DockerHostConfig: `{"NetworkMode":"bridge","ExtraHosts":["printer:192.0.2.9"]}`,
			},
			{Name: "proxy", Image: "i", HealthCheckType: "docker", DockerConfig: `{"HealthCheck":{"Test":["CMD","x"]}}`, DockerHostConfig: `{"NetworkMode":"bridge"}`},
		},
		Attachments: []task.Attachment{{Type: "serviceconnectdetail", Properties: map[string]string{"ContainerName": "proxy", "ServiceConnectConfig": `{
			"egressConfig":{"listenerName":"egress","listenerPort":40001,"vip":{"ipv4Cidr":"10.213.0.0/16"}},
			"ingressConfig":[{"listenerName":"api","listenerPort":40002,"hostPort":9001}],
			"dnsConfig":[{"hostName":"orders.internal","address":"10.213.0.3"}]}`}}},
	}
	accepted, reason := task.Intake{Pause: task.Pause{Image: "pause:1"}}.Accept(spec)
	if accepted == nil {
		t.Fatal(reason)
	}
	st := &task.State{Containers: make([]task.ContainerState, len(accepted.Containers))}
	for i := range accepted.Containers {
		c := &st.Containers[i]
		c.DockerName = "d"
		if name, ok := strings.CutPrefix(accepted.Containers[i].Name, task.NetworkPauseName+"-"); ok {
			c.RuntimeID = "pause-of-" + name
			c.Networks = []task.Network{{Name: "bridge", IPv4: map[string]string{"app": "172.17.0.2", "proxy": "172.17.0.3"}[name], IPv6: "fd00::" + name[:1]}}
		}
	}
	return accepted, st
}

// Containers join the network of their pause container, which has their names and ports;
// the proxy is told where they are.
func TestBridgedConnect(t *testing.T) {
	spec, st := bridgedConnect(t)
	build := func(name string, env Env) (b struct {
		mode, hostname string
		hosts, env     []string
		bound, exposed []string
	}) {
		t.Helper()
		r, err := Build(spec, spec.Index(name), st, Inputs{}, env)
		if err != nil {
			t.Fatal(err)
		}
		b.mode, b.hostname, b.hosts, b.env = string(r.HostConfig.NetworkMode), r.Config.Hostname, r.HostConfig.ExtraHosts, r.Config.Env
		for p, to := range r.HostConfig.PortBindings {
			b.bound = append(b.bound, string(p)+"="+to[0].HostPort)
		}
		for p := range r.Config.ExposedPorts {
			b.exposed = append(b.exposed, string(p))
		}
		slices.Sort(b.exposed)
		return b
	}
	app := build("app", linuxEnv())
	if app.mode != "container:pause-of-app" || app.hostname != "" || app.hosts != nil || app.bound != nil || app.exposed != nil {
		t.Errorf("app %+v", app)
	}
	pause := build(task.ConnectPauseName("app"), linuxEnv())
	if pause.mode != "bridge" || pause.hostname != "web" || !slices.Equal(pause.hosts, []string{"printer:192.0.2.9", "orders.internal:10.213.0.3"}) ||
		!slices.Equal(pause.bound, []string{"8080/tcp=9000"}) || !slices.Equal(pause.exposed, []string{"8080/tcp"}) {
		t.Errorf("pause of app %+v", pause)
	}
	pause = build(task.ConnectPauseName("proxy"), linuxEnv())
	if pause.mode != "bridge" || !slices.Equal(pause.bound, []string{"40002/tcp=9001"}) || !slices.Equal(pause.exposed, []string{"40001/tcp", "40002/tcp"}) {
		t.Errorf("pause of proxy %+v", pause)
	}
	proxy := build("proxy", linuxEnv())
	if proxy.mode != "container:pause-of-proxy" || !slices.Contains(proxy.env, `APPNET_CONTAINER_IP_MAPPING={"app":"172.17.0.2","proxy":"172.17.0.3"}`) {
		t.Errorf("proxy %+v", proxy)
	}
	six := linuxEnv()
	six.IPv6Only = true
	if got := build("proxy", six).env; !slices.Contains(got, `APPNET_CONTAINER_IP_MAPPING={"app":"fd00::a","proxy":"fd00::p"}`) {
		t.Errorf("proxy on a host with IPv6 alone: %q", got)
	}
	st.Containers[spec.Index(task.ConnectPauseName("app"))].Networks = nil
	if _, err := Build(spec, spec.Index("proxy"), st, Inputs{}, linuxEnv()); err == nil || !strings.Contains(err.Error(), "container app has no address on Docker's network bridge") {
		t.Error(err)
	}
	st.Containers[spec.Index(task.ConnectPauseName("app"))].RuntimeID = ""
	if _, err := Build(spec, spec.Index("app"), st, Inputs{}, linuxEnv()); err == nil || !strings.Contains(err.Error(), "no pause container holds the task's network namespace") {
		t.Error(err)
	}
}
