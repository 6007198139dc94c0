package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	docker "github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"ecsagent/cni/nettest"
	"ecsagent/tests/harness"
	"ecsagent/tests/image"
	"ecsagent/tests/proxy"
)

// ownHost is an env with a host of its own: a network namespace in which a Docker engine
// with its bridge and the agent run.
type ownHost struct {
	*env
	space *nettest.Namespace
	own   *docker.Client
	image string // in the engine: it reaches no registry
}

// onOwnHost makes an ownHost with a connected agent. The firewall is a shell script that
// runs in the namespace before the agent does.
func onOwnHost(t *testing.T, firewall string, dockerd ...string) *ownHost {
	t.Helper()
	return onOwnHostWith(t, nil, firewall, dockerd...)
}

// onOwnHostWith is onOwnHost with further settings of the agent.
func onOwnHostWith(t *testing.T, agent []string, firewall string, dockerd ...string) *ownHost {
	t.Helper()
	if shared.host == "" {
		t.Skip("ECS_TEST_DOCKER_HOST is not set; make test sets it")
	}
	h := &ownHost{space: nettest.New(t)}
	socket := h.startEngine(t, dockerd)
	// What is closed last is made first.
	h.env = prepared(t, append([]string{"ECS_HOST_RULES=agent", "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached"}, agent...)...)
	h.load()
	h.run(firewall)
	h.DockerHost, h.Space, h.TaskEndpoint, h.Introspection = socket, h.space.Path(), "127.0.0.1:51679", "127.0.0.1:51678"
	h.link.Close()
	if err := h.space.Do(func() (err error) {
		h.link, err = proxy.NewTCP("tcp", h.plane.Address())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	h.Endpoint = h.link.Address()
	h.plane.SetPublic("http://" + h.Endpoint)
	h.started()
	return h
}

// startEngine starts a Docker engine in the namespace and returns its address.
func (h *ownHost) startEngine(t *testing.T, further []string) string {
	t.Helper()
	dir := socketDir(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(in("daemon.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := "unix://" + in("d.sock")
	p, err := harness.StartProcess("dockerd", in("log"), "nsenter", append([]string{
		"--net=" + h.space.Path(), "dockerd", "--host", socket, "--data-root", in("data"), "--exec-root", in("exec"), "--pidfile", in("pid"),
		"--config-file", in("daemon.json"), "--storage-driver", "vfs", "--shutdown-timeout", "5",
		"--containerd-namespace", filepath.Base(dir), "--containerd-plugins-namespace", filepath.Base(dir) + "-plugins",
	}, further...), os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.Stop(patience); err != nil {
			t.Error(err)
		}
	})
	if h.own, err = docker.NewClientWithOpts(docker.WithHost(socket), docker.WithAPIVersionNegotiation()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.own.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := harness.Poll(ctx, "the engine to answer", func(ctx context.Context) (bool, error) {
		if !p.Running() {
			cancel()
		}
		_, err := h.own.Ping(ctx)
		return err == nil, err
	}); err != nil {
		t.Fatalf("%v\n%s", err, p.Tail(20))
	}
	return socket
}

// load gives the engine an image with a shell.
func (h *ownHost) load() {
	h.t.Helper()
	h.image = loadTools(h.t, h.own)
}

// loadTools gives an engine that reaches no registry an image with a shell.
func loadTools(t *testing.T, engine *docker.Client) (ref string) {
	t.Helper()
	img, err := image.Busybox(v1.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("tools:own")
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := tarball.Write(tag, img, &archive); err != nil {
		t.Fatal(err)
	}
	loaded, err := engine.ImageLoad(t.Context(), &archive)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Body.Close()
	if _, err := io.Copy(io.Discard, loaded.Body); err != nil {
		t.Fatal(err)
	}
	return "tools:own"
}

// run runs a shell script in the namespace.
func (h *ownHost) run(script string) string {
	h.t.Helper()
	out, err := exec.CommandContext(h.ctx, "nsenter", "--net="+h.space.Path(), "sh", "-ec", script).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// asks runs a task whose container asks for its credentials, for its metadata and for
// another path, each over 169.254.170.2, and returns it with the answers.
func (h *ownHost) asks(mode, other string) (task harness.Task, answers []string) {
	h.t.Helper()
	const ask = "echo $(timeout 60 wget -qO- %s 2>&1); "
	def := withRoles(bridged(sh("app", fmt.Sprintf(ask+ask+ask+`trap 'exit 0' TERM; sleep 3600 & while :; do wait; done`,
		"http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "$ECS_CONTAINER_METADATA_URI_V4/task", "http://169.254.170.2"+other), M{"image": h.image})))
	def["networkMode"] = mode
	task = h.awaits(h.launch(def), "RUNNING")
	h.eventually(patience, "the answers in the "+mode+" task", func() (bool, error) {
		r, err := h.own.ContainerLogs(h.ctx, task.Container("app").RuntimeID, container.LogsOptions{ShowStdout: true})
		if err != nil {
			return false, err
		}
		defer r.Close()
		var out strings.Builder
		_, err = stdcopy.StdCopy(&out, io.Discard, r)
		answers = strings.Split(out.String(), "\n")
		if err == nil && len(answers) != 4 {
			err = fmt.Errorf("so far %q", answers)
		}
		return err == nil, err
	})
	var keys struct{ RoleArn, AccessKeyId string }
	if err := json.Unmarshal([]byte(answers[0]), &keys); err != nil || keys.RoleArn != taskRole || keys.AccessKeyId == "" {
		h.t.Errorf("credentials in the %s task: %q, %v", mode, answers[0], err)
	}
	var about struct{ TaskARN string }
	if err := json.Unmarshal([]byte(answers[1]), &about); err != nil || about.TaskARN != task.TaskARN {
		h.t.Errorf("metadata in the %s task: %q, %v", mode, answers[1], err)
	}
	return task, answers
}

// Real containers on Docker's bridge and in the host's network reach 169.254.170.2 through
// the rules that the agent makes, on hosts whose input drops what it does not know, also
// after somebody has flushed the rules; and what is another task's stays that.
func TestPathOfContainers(t *testing.T) {
	for backend, host := range map[string]struct {
		firewall, flush, rules, want string
		dockerd                      []string
	}{
		"iptables": {
			firewall: "iptables -P INPUT DROP; iptables -A INPUT -i lo -j ACCEPT; iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
			flush:    "iptables -t nat -F PREROUTING; iptables -F INPUT; iptables -A INPUT -i lo -j ACCEPT; iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
			rules:    "iptables-save", want: "-A PREROUTING -d 169.254.170.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 127.0.0.1:51679",
		},
		"nftables": {
			firewall: "nft 'table inet firewall { chain input { type filter hook input priority 0; policy drop; iif lo accept; ct state established accept; }; }'",
			flush:    "nft flush ruleset; nft 'table inet firewall { chain input { type filter hook input priority 0; policy drop; iif lo accept; ct state established accept; }; }'",
			rules:    "nft list ruleset", want: "dnat to 127.0.0.1:51679",
			dockerd: []string{"--iptables=false", "--ip6tables=false"},
		},
	} {
		t.Run(backend, func(t *testing.T) {
			h := onOwnHost(t, host.firewall, host.dockerd...)
			task, _ := h.asks("bridge", "/")
			contains(t, "rules", h.run(host.rules), host.want)

			h.run(host.flush)
			h.eventually(patience, "the rules to be back", func() (bool, error) {
				return strings.Contains(h.run(host.rules), host.want), nil
			})
			_, answers := h.asks("bridge", h.variableOf(task, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"))
			contains(t, "another task's credentials", answers[2], "400 Bad Request")
			h.asks("host", "/")
		})
	}
}

// An engine without its userland proxy, and with IPv6: dynamic ports, fixed ones and a range
// are published, reported for both families, and reached through packet rules alone, by the
// host and by the containers themselves.
func TestBindingsWithoutUserlandProxy(t *testing.T) {
	h := onOwnHostWith(t, []string{"ECS_EXCLUDE_IPV6_PORTBINDING=false"}, "sysctl -qw net.ipv6.conf.all.disable_ipv6=0; ip link set lo up",
		"--userland-proxy=false", "--ipv6", "--fixed-cidr-v6", "fd20:ec6::/64")
	served := page("web", []M{
		{"containerPort": 80, "hostPort": 0}, {"containerPort": 81, "hostPort": 8081}, {"containerPortRange": "8000-8002", "protocol": "tcp"}, {"containerPort": 53, "hostPort": 0, "protocol": "udp"},
	}, 80, 81, 8000, 8002)
	served["image"] = h.image
	task := h.awaits(h.launch(bridged(served)), "RUNNING")
	web := task.Container("web")
	reported := map[string]int{}
	for _, b := range web.NetworkBindings {
		reported[fmt.Sprintf("%s %d%s/%s", b.BindIP, b.ContainerPort, b.ContainerPortRange, b.Protocol)]++
	}
	for _, ip := range []string{"0.0.0.0", "::"} {
		for _, port := range []string{"80/tcp", "81/tcp", "53/udp", "08000-8002/tcp"} {
			if reported[ip+" "+port] != 1 {
				t.Errorf("%s on %s is reported %d times:\n%s", port, ip, reported[ip+" "+port], pretty(web.NetworkBindings))
			}
		}
	}
	var first int
	for _, b := range web.NetworkBindings {
		if b.BindIP == "0.0.0.0" && b.ContainerPortRange != "" {
			if _, err := fmt.Sscanf(b.HostPortRange, "%d-", &first); err != nil {
				t.Fatal(err)
			}
		}
	}
	info, err := h.own.ContainerInspect(h.ctx, web.RuntimeID)
	if err != nil {
		t.Fatal(err)
	}
	gateway := info.NetworkSettings.Networks["bridge"].Gateway
	for port, want := range map[int]string{binding(web, 80, "tcp").HostPort: "80", 8081: "81", first: "8000", first + 2: "8002"} {
		url := fmt.Sprintf("http://%s:%d/", gateway, port)
		h.eventually(patience, "port "+fmt.Sprint(port)+" to answer", func() (bool, error) {
			got, err := get(h.ctx, h.space.Space, url)
			return got == want, err
		})
	}
	made, err := h.own.ContainerExecCreate(h.ctx, web.RuntimeID, container.ExecOptions{AttachStdout: true, Cmd: []string{"sh", "-c", fmt.Sprintf("timeout 60 wget -qO- http://%s:8081/", gateway)}})
	if err != nil {
		t.Fatal(err)
	}
	attached, err := h.own.ContainerExecAttach(h.ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	var out strings.Builder
	if _, err := stdcopy.StdCopy(&out, io.Discard, attached.Reader); err != nil || strings.TrimSpace(out.String()) != "81" {
		t.Errorf("the container on its own published port: %q %v", out.String(), err)
	}
}

// variableOf is an environment variable of a task's container app.
func (h *ownHost) variableOf(task harness.Task, variable string) string {
	h.t.Helper()
	info, err := h.own.ContainerInspect(h.ctx, task.Container("app").RuntimeID)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, kv := range info.Config.Env {
		if value, ok := strings.CutPrefix(kv, variable+"="); ok {
			return value
		}
	}
	h.t.Fatalf("the container has no %s", variable)
	return ""
}
