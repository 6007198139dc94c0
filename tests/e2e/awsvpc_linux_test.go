package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"go.etcd.io/bbolt"

	"ecsagent/agent/failpoint"
	"ecsagent/agent/task"
	"ecsagent/cni/kernel"
	"ecsagent/cni/nettest"
	"ecsagent/controlplane/vpc"
	"ecsagent/tests/harness"
	"ecsagent/tests/proxy"
)

// vpcEnv is an env whose agent lives in a network namespace, which is its host, and whose
// control plane makes interfaces there.
type vpcEnv struct {
	*env
	host    *nettest.Namespace
	plugins string
	network string        // first three bytes of the subnet
	subnet  *kernel.Space // once it is there
	space   string        // its name
	rules   string        // packet rules of the host, before the first task
}

// plugins builds ecs-cni, once, and returns its path.
var plugins = sync.OnceValues(func() (string, error) { return buildPlugins("ecs-cni") })

func buildPlugins(name string, flags ...string) (string, error) {
	program := filepath.Join(shared.programs, name)
	build := exec.CommandContext(context.Background(), "go", append(append([]string{"build"}, flags...), "-o", program, "ecsagent/cni/cmd/ecs-cni")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the plugins: %w\n%s", err, out)
	}
	return program, nil
}

// installed puts the plugins of a program into a directory.
func installed(ctx context.Context, program, directory string) error {
	if out, err := exec.CommandContext(ctx, program, "install", directory).CombinedOutput(); err != nil {
		return fmt.Errorf("install the plugins: %w\n%s", err, out)
	}
	return nil
}

// inVPC makes a vpcEnv with a connected agent.
func inVPC(t *testing.T, agent ...string) *vpcEnv {
	t.Helper()
	return withVPC(t, nil, agent...)
}

// subnet6 are the flags of a VPC with IPv6.
var subnet6 = []string{"--vpc-subnet6", "fd20:ec5::1/64"}

// withVPC is inVPC with further arguments of ecs-local up. NETWORK stands in them for the
// first three bytes of the subnet.
func withVPC(t *testing.T, local []string, agent ...string) *vpcEnv {
	t.Helper()
	if shared.host == "" {
		t.Skip("ECS_TEST_DOCKER_HOST is not set; make test sets it")
	}
	name := "ecs-e2e-" + randomHex()
	host := nettest.New(t)
	t.Cleanup(func() {
		// Only a test that failed leaves it.
		if err := netns.DeleteNamed(name); err == nil && !t.Failed() {
			t.Errorf("network namespace %s was left", name)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	program, err := plugins()
	if err != nil {
		t.Fatal(err)
	}
	directory := filepath.Join(t.TempDir(), "cni")
	if err := installed(t.Context(), program, directory); err != nil {
		t.Fatal(err)
	}
	v := &vpcEnv{host: host, plugins: directory, space: name, env: prepared(t, append([]string{
		"ECS_EXTERNAL=false", "ECS_HOST_RULES=agent", "ECS_CNI_PLUGINS_PATH=" + directory, "ECS_TEST_ENI_LINKS=" + vpc.TestLinks,
	}, agent...)...)}
	// Other tests' tasks have other addresses, and so other MAC addresses.
	v.network = fmt.Sprintf("10.20.%d", 1+environments.Load()%250)
	v.Space, v.TaskEndpoint, v.Introspection = host.Path(), "127.0.0.1:51679", "127.0.0.1:51678"
	v.Options.Local = []string{"--vpc", "--vpc-name", name, "--vpc-host", host.Path(), "--vpc-subnet", v.network + ".1/24"}
	for _, argument := range local {
		v.Options.Local = append(v.Options.Local, strings.ReplaceAll(argument, "NETWORK", v.network))
	}
	v.ECS.Network = M{"awsvpcConfiguration": M{"subnets": []string{"local"}}}
	// The agent reaches the control plane through a door in its own namespace.
	v.link.Close()
	if err := host.Do(func() (err error) {
		v.link, err = proxy.NewTCP("tcp", v.plane.Address())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	v.Endpoint = v.link.Address()
	v.plane.SetPublic("http://" + v.Endpoint)
	v.Options.Agent = append(v.Options.Agent, "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://"+v.Endpoint)
	if err := v.StartLocal(v.ctx); err != nil {
		t.Fatal(err)
	}
	if v.subnet, err = kernel.Open(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.subnet.Close)
	if err := v.StartAgent(); err != nil {
		t.Fatal(err)
	}
	v.instance()
	v.eventually(patience, "the agent to make its packet rules", func() (bool, error) {
		v.rules = v.packetRules()
		return strings.Contains(v.rules, "51679") && strings.Contains(v.rules, "51678"), nil
	})
	return v
}

// packetRules are those of the network namespace that is the host, whoever wrote them.
func (v *vpcEnv) packetRules() string {
	v.t.Helper()
	return v.onHost("nft list ruleset; iptables-legacy-save | grep ^-A || :; ip6tables-legacy-save | grep ^-A || :")
}

func vpcDefinition(containers ...M) M {
	def := bridged(containers...)
	def["networkMode"] = "awsvpc"
	return def
}

// server is a container that serves its task's name on port 8080.
func server(name, text string) M {
	return sh(name, "mkdir /tmp/www; echo "+text+" > /tmp/www/name; httpd -p 8080 -h /tmp/www; trap 'exit 0' TERM; sleep 3600 & while :; do wait; done",
		M{"portMappings": []M{{"containerPort": 8080}}})
}

// get asks for a page from within a namespace.
func get(ctx context.Context, from *kernel.Space, url string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = from.Do(func() error {
			c, err = new(net.Dialer).DialContext(ctx, network, address)
			return err
		})
		return c, err
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	reply, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	return strings.TrimSpace(string(body)), err
}

// serves waits until a task answers in the subnet, on its own address.
func (v *vpcEnv) serves(t harness.Task, want string) (address string) {
	v.t.Helper()
	address, _ = t.Interface()
	v.servesOn(address, want)
	return address
}

func (v *vpcEnv) servesOn(address, want string) {
	v.t.Helper()
	v.eventually(patience, "the task to answer on "+address, func() (bool, error) {
		got, err := get(v.ctx, v.subnet, "http://"+net.JoinHostPort(address, "8080")+"/name")
		if err == nil && got != want {
			return false, fmt.Errorf("%s answers %q, want %q", address, got, want)
		}
		return err == nil, err
	})
}

// inTask runs a command in a container of a task and returns what it wrote.
func (v *vpcEnv) inTask(t harness.Task, name, script string) string {
	v.t.Helper()
	out, err := v.exec(t.Container(name).RuntimeID, "sh", "-c", script+" 2>&1")
	if err != nil {
		v.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// addresses are those that the plugins have given to this test's tasks on the bridge, by
// owner. A new database has those of all namespaces of the machine.
func (v *vpcEnv) addresses() map[string]string {
	v.t.Helper()
	given := map[string]string{}
	first, err := netip.ParseAddr(v.network + ".0")
	if err != nil {
		v.t.Fatal(err)
	}
	b := first.As4()
	prefix := fmt.Sprintf("06:ec:%02x:%02x:%02x:", b[0], b[1], b[2])
	db, err := bbolt.Open(filepath.Join(v.Dir, "data", "eni-ipam.db"), 0o600, &bbolt.Options{ReadOnly: true, Timeout: patience})
	if errors.Is(err, fs.ErrNotExist) {
		return given
	}
	if err != nil {
		v.t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("IPAM")).ForEach(func(k, value []byte) error {
			const revision = 8
			if owner := string(value[revision:]); strings.HasPrefix(owner, prefix) {
				given[owner] = string(k)
			}
			return nil
		})
	}); err != nil {
		v.t.Fatal(err)
	}
	return given
}

// nothingLeft waits until no task has left anything on the host or in the subnet.
func (v *vpcEnv) nothingLeft() {
	v.t.Helper()
	v.nothingLeftWithin(patience)
}

func (v *vpcEnv) nothingLeftWithin(limit time.Duration) {
	v.t.Helper()
	v.eventually(limit, "everything of the tasks' networks to be gone", func() (bool, error) {
		if names := v.host.Names(); len(names) > 1 || len(names) == 1 && names[0] != "ecs-bridge" {
			return false, fmt.Errorf("the host has %v", names)
		}
		links, err := v.subnet.Links()
		if err != nil {
			return false, err
		}
		for _, l := range links {
			if l.Type() == "veth" {
				return false, fmt.Errorf("the subnet has %s", l.Attrs().Name)
			}
		}
		if rules := v.packetRules(); rules != v.rules {
			return false, fmt.Errorf("the host has the packet rules\n%s\nbefore the first task it had\n%s", rules, v.rules)
		}
		if given := v.addresses(); len(given) > 0 {
			return false, fmt.Errorf("addresses %v are given", given)
		}
		files, err := filepath.Glob(filepath.Join(v.Dir, "data", "cni", "*", "*"))
		if err == nil && len(files) > 0 {
			err = fmt.Errorf("files %v", files)
		}
		return err == nil, err
	})
}

// Two tasks of network mode awsvpc with the same port, each on its own address, with
// credentials and metadata, without instance metadata, from start to end. They have both
// families of addresses.
func TestAWSVPC(t *testing.T) {
	v := withVPC(t, subnet6, "ECS_AWSVPC_BLOCK_IMDS=true", `ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES=["10.0.15.0/24"]`)
	v.payload(func(_, eni M) {
		eni["domainNameServers"], eni["domainName"] = []string{v.network + ".2"}, []string{"shop.internal", "internal"}
	})
	for _, a := range []string{"ecs.capability.task-eni", "ecs.capability.task-eni-block-instance-metadata"} {
		if !v.hasAttribute(a) {
			t.Errorf("%s is not advertised", a)
		}
	}
	var tasks []harness.Task
	var addresses, addresses6 []string
	for _, name := range []string{"one", "two"} {
		task := v.running(withRoles(vpcDefinition(server("app", name), sleeper("side", M{"essential": false}))))
		address6 := task.Container("app").Interfaces[0].IPv6
		v.servesOn(address6, name)
		tasks, addresses, addresses6 = append(tasks, task), append(addresses, v.serves(task, name)), append(addresses6, address6)
	}
	if addresses[0] == addresses[1] {
		t.Errorf("both tasks have %s", addresses[0])
	}
	for i, task := range tasks {
		address, mac := task.Interface()
		if got := v.reports(task.TaskARN); !slices.Equal(got, []string{"PENDING", "RUNNING"}) {
			t.Errorf("reports %v", got)
		}
		confirmed := 0
		for _, s := range v.plane.Submissions("SubmitTaskStateChange") {
			confirmed += strings.Count(string(s.Body), task.Attachments[0].ID)
		}
		equal(t, "confirmations of the attachment", confirmed, 1)

		links := v.inTask(task, "app", "ip -o addr; ip link show eth0; ip route; ip -6 route; cat /etc/hosts; hostname")
		contains(t, "network of the task", links, "inet "+address+"/24", mac, "inet6 "+addresses6[i]+"/64", "default via fd20:ec5::1 dev eth0", "inet 169.254.172.", "default via "+v.network+".1 dev eth0",
			"169.254.170.2 via 169.254.172.1 dev ecs-eth0", "10.0.15.0/24 via 169.254.172.1 dev ecs-eth0", strings.ReplaceAll(v.network, ".", "-"))
		contains(t, "resolver of the task", v.inTask(task, "side", "cat /etc/resolv.conf"), "nameserver "+v.network+".2", "search shop.internal internal")
		contains(t, "network of the other container", v.inTask(task, "side", "ip -4 -o addr"), "inet "+address+"/24")

		var keys struct{ RoleArn, AccessKeyId string }
		got := v.inTask(task, "app", `timeout 30 wget -qO- http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`)
		if err := json.Unmarshal([]byte(got), &keys); err != nil || keys.RoleArn != taskRole || keys.AccessKeyId == "" {
			t.Errorf("credentials %q: %v", got, err)
		}
		var about struct {
			TaskARN    string
			Containers []struct {
				Name     string
				Networks []struct {
					NetworkMode, MACAddress string
					IPv4Addresses           []string
					IPv6Addresses           []string
				}
			}
		}
		got = v.inTask(task, "app", `timeout 30 wget -qO- $ECS_CONTAINER_METADATA_URI_V4/task`)
		if err := json.Unmarshal([]byte(got), &about); err != nil || about.TaskARN != task.TaskARN || len(about.Containers) != 3 { // the pause is one of them
			t.Fatalf("metadata %q: %v", got, err)
		}
		for _, c := range about.Containers {
			if len(c.Networks) != 1 || c.Networks[0].NetworkMode != "awsvpc" || c.Networks[0].MACAddress != mac || !slices.Equal(c.Networks[0].IPv4Addresses, []string{address}) ||
				!slices.Equal(c.Networks[0].IPv6Addresses, []string{addresses6[i]}) {
				t.Errorf("metadata of %s: %+v", c.Name, c.Networks)
			}
		}

		for _, host := range []string{"169.254.169.254", "[fd00:ec2::254]"} {
			url := "http://" + host + "/latest/meta-data/instance-id"
			if got := v.inTask(task, "app", "timeout 10 wget -qO- "+url+" || echo blocked"); !strings.HasSuffix(got, "blocked") {
				t.Errorf("instance metadata in a task at %s: %q", host, got)
			}
			if got, err := get(v.ctx, v.subnet, url); err != nil || !strings.HasPrefix(got, "i-") {
				t.Errorf("instance metadata in the subnet at %s: %q %v", host, got, err)
			}
		}
		// The other task: through the subnet, not over the host's bridge.
		other := tasks[1-i]
		if got := v.inTask(task, "app", "timeout 30 wget -qO- http://"+addresses[1-i]+":8080/name"); got != []string{"two", "one"}[i] {
			t.Errorf("the other task answers %q", got)
		}
		if got := v.inTask(task, "app", "timeout 30 wget -qO- http://["+addresses6[1-i]+"]:8080/name"); got != []string{"two", "one"}[i] {
			t.Errorf("the other task answers %q over IPv6", got)
		}
		_, otherMAC := other.Interface()
		bridged := v.addresses()[otherMAC]
		if got := v.inTask(task, "app", "timeout 3 wget -qO- http://"+bridged+":8080/name || echo unreachable"); bridged == "" || !strings.HasSuffix(got, "unreachable") {
			t.Errorf("the other task at %q over the bridge: %q", bridged, got)
		}
		// The agent's own server is not for tasks.
		if got := v.inTask(task, "app", "timeout 3 wget -qO- http://169.254.172.1:51678/v1/metadata || echo unreachable"); !strings.HasSuffix(got, "unreachable") {
			t.Errorf("introspection from a task: %q", got)
		}
	}
	// A security rule of the subnet: neither reaches the other one any more, by no way.
	v.inSpace(fmt.Sprintf("nft 'add table bridge rules; add chain bridge rules forward { type filter hook forward priority 0; }; "+
		"add rule bridge rules forward ip saddr { %s, %[2]s } ip daddr { %[1]s, %[2]s } drop; add rule bridge rules forward ip6 saddr { %[3]s, %[4]s } ip6 daddr { %[3]s, %[4]s } drop'",
		addresses[0], addresses[1], addresses6[0], addresses6[1]))
	for i, task := range tasks {
		got := v.inTask(task, "app", fmt.Sprintf("for host in %s [%s]; do (timeout 2 wget -qO- http://$host:8080/name || echo unreachable) & done; wait", addresses[1-i], addresses6[1-i]))
		if strings.Count(got, "unreachable") != 2 {
			t.Errorf("the other task against the rule: %q", got)
		}
		v.serves(task, []string{"one", "two"}[i])
		v.servesOn(addresses6[i], []string{"one", "two"}[i])
	}
	v.inSpace("nft delete table bridge rules")
	for _, task := range tasks {
		ended := v.stop(task.TaskARN)
		equal(t, "exit code", exitCode(ended.Container("app")), "0")
		equal(t, "attachment", ended.Attachments[0].Status, "DELETED")
	}
	v.nothingLeft()
}

// A task without an IPv4 address in its subnet reaches its credentials all the same, and
// instance metadata where nothing blocks it.
func TestAWSVPCWithoutIPv4(t *testing.T) {
	v := withVPC(t, append([]string{"--vpc-ipv6-only"}, subnet6...))
	task := v.running(withRoles(vpcDefinition(server("app", "six"))))
	shown := task.Container("app").Interfaces[0]
	equal(t, "IPv4 address", shown.IPv4, "")
	v.servesOn(shown.IPv6, "six")
	got := v.inTask(task, "app", "ip -o addr show eth0; ip -6 route; cat /etc/hosts; ip -4 route")
	contains(t, "network of the task", got, "inet6 "+shown.IPv6+"/64", "default via fd20:ec5::1 dev eth0", shown.IPv6+"\t")
	if strings.Contains(got, "inet "+v.network) || strings.Contains(got, "default via 1") {
		t.Errorf("the task has an IPv4 address of the subnet: %s", got)
	}
	contains(t, "credentials", v.inTask(task, "app", "timeout 30 wget -qO- http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), taskRole)
	contains(t, "metadata", v.inTask(task, "app", "timeout 30 wget -qO- $ECS_CONTAINER_METADATA_URI_V4/task"), `"IPv6Addresses":["`+shown.IPv6+`"]`)
	contains(t, "instance metadata", v.inTask(task, "app", "timeout 30 wget -qO- http://[fd00:ec2::254]/latest/meta-data/instance-id"), "i-")
	v.stop(task.TaskARN)
	v.nothingLeft()
}

// networkPause is the pause container of an awsvpc task, as the engine lists it.
func (v *vpcEnv) networkPause(arn string) (id string, running bool) {
	v.t.Helper()
	all, err := v.Containers(v.ctx, shared.docker)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, c := range all {
		if c.Labels[harness.LabelTaskARN] == arn && c.Labels[harness.LabelContainer] == task.NetworkPauseName {
			return c.ID, c.State == "running"
		}
	}
	return "", false
}

// The agent is killed while tasks run, and while tasks get and lose their networks: those
// that run go on, and nothing is left in the end.
func TestAWSVPCAgentKilled(t *testing.T) {
	v := inVPC(t)
	lasting := v.running(vpcDefinition(server("app", "lasting")))
	v.serves(lasting, "lasting")
	pause, _ := v.networkPause(lasting.TaskARN)
	v.Agent.Kill()
	v.serves(lasting, "lasting") // nobody needs the agent for that
	v.restart()
	v.serves(lasting, "lasting")

	// In the middle of everything: at each of these moments of a task.
	for moment, reached := range map[string]func(arn string) bool{
		"the interface is there": func(string) bool { return len(v.host.Names()) > 2 },
		"the pause container is": func(arn string) bool { id, _ := v.networkPause(arn); return id != "" },
		"the pause runs":         func(arn string) bool { _, running := v.networkPause(arn); return running },
		"it has an address":      func(string) bool { return len(v.addresses()) > 1 },
	} {
		arn := v.launch(vpcDefinition(server("app", "middle")))
		v.eventually(patience, moment, func() (bool, error) { return reached(arn), nil })
		v.Agent.Kill()
		v.restart()
		task := v.awaits(arn, "RUNNING")
		v.serves(task, "middle")
		if err := v.ECS.Stop(v.ctx, arn, "enough"); err != nil {
			t.Fatal(err)
		}
		v.eventually(patience, "the task to be stopping", func() (bool, error) {
			c := v.inspect(task, "app")
			return !c.State.Running, nil
		})
		v.Agent.Kill()
		v.restart()
		v.stopped(arn)
	}
	v.serves(lasting, "lasting")
	if id, running := v.networkPause(lasting.TaskARN); id != pause || !running {
		t.Errorf("pause container %s, running %v; before the kills %s", id, running, pause)
	}
	// Instance metadata is there where nothing blocks it.
	contains(t, "instance metadata", v.inTask(lasting, "app", "timeout 30 wget -qO- http://169.254.169.254/latest/meta-data/instance-id"), "i-")
	v.stop(lasting.TaskARN)
	v.nothingLeft()
}

// withFailpoints builds the agent with failpoints, once, and returns its folder.
var withFailpoints = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(shared.programs, "failpoint")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	build := exec.CommandContext(context.Background(), "go", "build", "-tags", "failpoint", "-o", dir+string(filepath.Separator), "ecsagent/agent/cmd/ecs-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent with failpoints: %w\n%s", err, out)
	}
	return dir, nil
})

// The agent is killed before and after each call of a plugin, and while it confirms an
// interface, one kill after the other: the task gets its network all the same, and leaves
// nothing.
func TestAWSVPCKilledAtFailpoints(t *testing.T) {
	v := inVPC(t)
	programs, err := withFailpoints()
	if err != nil {
		t.Fatal(err)
	}
	v.Programs = programs
	plain := v.Options.Agent
	// next starts an agent that is killed at the failpoint; at none where it is empty.
	next := func(point string) {
		t.Helper()
		v.Options.Agent = plain
		if point != "" {
			v.Options.Agent = append(slices.Clone(plain), "ECS_FAILPOINTS="+point+"=kill@1")
		}
		if err := v.StartAgent(); err != nil {
			t.Fatal(err)
		}
	}
	killed := func(point string) {
		t.Helper()
		select {
		case <-v.Agent.Done():
		case <-time.After(patience):
			t.Fatalf("the agent was not killed at %s", point)
		}
	}
	adds := []string{"store.attachment.before", "store.attachment.after", "network.add-vpc-eni.before", "network.add-vpc-eni.after", "network.add-ecs-bridge.before", "network.add-ecs-bridge.after"}
	dels := []string{
		"network.del-ecs-bridge.before", "network.del-ecs-bridge.after", "network.del-vpc-eni.before", "network.del-vpc-eni.after",
		"network.del-ecs-ipam.before", "network.del-ecs-ipam.after",
	}
	for _, name := range failpoint.All() {
		if strings.HasPrefix(name, "network.") && !slices.Contains(adds, name) && !slices.Contains(dels, name) {
			t.Errorf("%s is not tried", name)
		}
	}
	stopAgent := func() {
		t.Helper()
		if _, err := v.Agent.Stop(patience); err != nil {
			t.Fatal(err)
		}
	}

	stopAgent()
	next(adds[0])
	v.instance()
	arn := v.launch(vpcDefinition(server("app", "again")))
	for i, point := range adds {
		if i > 0 {
			next(point)
		}
		killed(point)
	}
	next("")
	v.serves(v.awaits(arn, "RUNNING"), "again")

	stopAgent()
	next(dels[0])
	v.instance()
	if err := v.ECS.Stop(v.ctx, arn, "enough"); err != nil {
		t.Fatal(err)
	}
	for i, point := range dels {
		if i > 0 {
			next(point)
		}
		killed(point)
	}
	next("")
	v.stopped(arn)

	// An interface of the instance is told of once; the agent confirms it however often it dies.
	stopAgent()
	next("ecs.SubmitAttachmentStateChanges.before")
	const trunk = "06:ec:ff:00:00:02"
	announce, confirmations := v.instanceInterface(trunk)
	v.onHost("ip link add ecsxtrunk address " + trunk + " type veth peer name trunk netns " + v.space)
	announce()
	killed("ecs.SubmitAttachmentStateChanges.before")
	next("ecs.SubmitAttachmentStateChanges.after")
	killed("ecs.SubmitAttachmentStateChanges.after")
	next("")
	v.eventually(patience, "the interface to be confirmed by the agent that lives", func() (bool, error) { return confirmations() == 2, nil })
	v.onHost("ip link delete ecsxtrunk")
	v.nothingLeft()
}

// What can be wrong with a task's network is its reason, and the next task runs.
func TestAWSVPCFailures(t *testing.T) {
	v := inVPC(t)
	plugin := filepath.Join(v.plugins, "ecs-bridge")
	aside := plugin + ".aside"
	if err := os.Rename(plugin, aside); err != nil {
		t.Fatal(err)
	}
	gone := v.stopped(v.launch(vpcDefinition(sleeper("app"))))
	contains(t, "reason without a plugin", gone.StoppedReason, "ContainerNetworkingError", "plugin "+plugin+" is missing (ECS_CNI_PLUGINS_PATH)")

	if err := os.WriteFile(plugin, []byte("#!/bin/sh\necho 'no such luck' >&2\nexit 3\n"), 0o755); err != nil { //nolint:gosec // it has to be executable
		t.Fatal(err)
	}
	broken := v.stopped(v.launch(vpcDefinition(sleeper("app"))))
	contains(t, "reason with a broken plugin", broken.StoppedReason, "ContainerNetworkingError", plugin, "no such luck")

	if err := os.Rename(aside, plugin); err != nil {
		t.Fatal(err)
	}
	task := v.running(vpcDefinition(server("app", "good")))
	v.serves(task, "good")

	// The namespace goes away under the task.
	pause, _ := v.networkPause(task.TaskARN)
	if err := shared.docker.ContainerKill(v.ctx, pause, "KILL"); err != nil {
		t.Fatal(err)
	}
	ended := v.stopped(task.TaskARN)
	contains(t, "reason", ended.StoppedReason, "pause")
	v.nothingLeft()
}
