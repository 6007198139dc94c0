package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"ecsagent/cni/nettest"
)

// built is the directory with the plugins, as they are installed.
var built string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ecs-cni")
	if err == nil {
		defer os.RemoveAll(dir)
		built = filepath.Join(dir, "plugins")
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	if status == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.RemoveAll(dir)
	os.Exit(status)
}

// build makes the program as it ships, and the CNI project's own test tool.
func build(dir string) error {
	for out, pkg := range map[string]string{"ecs-cni": ".", "cnitool": "github.com/containernetworking/cni/cnitool"} {
		c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, out), pkg) // on purpose
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
		}
	}
	text, err := exec.Command(filepath.Join(dir, "ecs-cni"), "install", built).CombinedOutput() // on purpose
	if err != nil {
		return fmt.Errorf("install: %w\n%s", err, text)
	}
	return nil
}

const mac = "06:1f:2e:3d:4c:5b"

// machine is a host in a VPC, with the credentials endpoint.
type machine struct {
	t    testing.TB
	vpc  *nettest.VPC
	host *nettest.Namespace
	dir  string
	env  []string
}

func newMachine(t testing.TB) *machine {
	m := &machine{t: t, vpc: nettest.NewVPC(t), host: nettest.New(t), dir: t.TempDir()}
	m.vpc.Serve(":80")
	m.host.Assign("lo", "169.254.170.2/32")
	m.host.Serve("169.254.170.2:80")
	m.env = []string{
		"IPAM_DB_PATH=" + m.db(),
		"ECS_CNI_LOG_FILE=" + filepath.Join(m.dir, "ecs.log"), "VPC_CNI_LOG_FILE=" + filepath.Join(m.dir, "vpc.log"),
	}
	return m
}

func (m *machine) db() string { return filepath.Join(m.dir, "data", "eni-ipam.db") }

// given are the addresses that the database says are given, with their owners.
func (m *machine) given() map[string]string {
	m.t.Helper()
	given := map[string]string{}
	db, err := bbolt.Open(m.db(), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		m.t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("IPAM")).ForEach(func(k, v []byte) error {
			if owner := string(v[8:]); owner != "GateWay" && !strings.HasPrefix(string(k), "last") {
				given[string(k)] = owner
			}
			return nil
		})
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return given
}

// plugin is one step of a task's set-up.
type step struct{ name, ifname, conf string }

// sequence is what the agent runs for a task (docs/spec/05 sections 4.3 and 4.5).
func sequence(version, mac string, last int) []step {
	head := fmt.Sprintf(`{"cniVersion":%q,"name":"network-name","type":`, version)
	return []step{
		{"vpc-eni", "eth0", head + fmt.Sprintf(`"vpc-eni","dns":{},"eniName":"","eniMACAddress":%q,"eniIPAddresses":["10.20.1.%d/24"],
			"gatewayIPAddresses":["10.20.1.1"],"useExistingNetwork":false,"blockInstanceMetadata":true}`, mac, last)},
		{"ecs-bridge", "ecs-eth0", head + fmt.Sprintf(`"ecs-bridge","bridge":"ecs-bridge","isGateway":false,"isDefaultGateway":false,
			"forceAddress":false,"ipMasq":false,"mtu":0,"hairpinMode":false,"ipam":{"type":"ecs-ipam","id":%q,
			"ipv4-subnet":"169.254.172.0/22","ipv4-routes":[{"dst":"169.254.170.2/32"}]}}`, mac)},
		{"aws-appmesh", "aws-appmesh", head + `"aws-appmesh","ignoredUID":"1337","ignoredGID":"","proxyIngressPort":"15000","proxyEgressPort":"15001",
			"appPorts":["8080"],"egressIgnoredPorts":["80"],"egressIgnoredIPs":["169.254.170.2","169.254.169.254"]}`},
		{"ecs-serviceconnect", "ecs-sc", head + `"ecs-serviceconnect","ingressConfig":[{"listenerPort":40001,"interceptPort":8081}],
			"egressConfig":{"listenerPort":40002,"redirectIP":null,"redirectMode":"nat","vip":{"ipv4Cidr":"127.255.0.0/16"}},"enableIPv4":true}`},
	}
}

// task is a namespace with its container id.
type task struct {
	*nettest.Namespace
	id string
}

// libcni runs a command of the CNI library in the host's namespace.
func (m *machine) libcni(do func(*libcni.CNIConfig) error) error {
	return m.host.Do(func() error {
		for _, e := range m.env {
			k, v, _ := strings.Cut(e, "=")
			os.Setenv(k, v)
		}
		return do(libcni.NewCNIConfigWithCacheDir([]string{built}, filepath.Join(m.dir, "cache"), nil))
	})
}

func (t task) runtime(s step) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: t.id, NetNS: t.Path(), IfName: s.ifname}
}

func (s step) parsed(t testing.TB) *libcni.PluginConfig {
	t.Helper()
	c, err := libcni.NetworkPluginConfFromBytes([]byte(s.conf))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// inShape checks the final state of a task (docs/spec/05 section 7.3, N1 to N5).
func (m *machine) inShape(tk task, last int) {
	m.t.Helper()
	routes := tk.Main(netlink.FAMILY_V4)
	slices.Sort(routes)
	want := []string{
		"10.20.1.0/24 dev eth0", "169.254.170.2/32 via 169.254.172.1 dev ecs-eth0", "169.254.172.1/32 via 169.254.172.1 dev ecs-eth0",
		"blackhole 169.254.169.254/32", "default via 10.20.1.1 dev eth0",
	}
	if !slices.Equal(routes, want) {
		m.t.Errorf("routes: %q", routes)
	}
	if from, _, err := tk.Dial("10.20.1.1:80"); err != nil || from.Addr().String() != fmt.Sprint("10.20.1.", last) {
		m.t.Errorf("the VPC sees %v, %v", from, err)
	}
	if from, _, err := tk.Dial("169.254.170.2:80"); err != nil || m.given()[from.Addr().String()] == "" {
		m.t.Errorf("the credentials endpoint sees %v, %v; given are %v", from, err, m.given())
	}
	if _, _, err := tk.Dial("169.254.169.254:80"); err == nil {
		m.t.Error("the instance's metadata answered")
	}
}

// TestLibcni: set-up and tear-down through the CNI library, which checks every result.
func TestLibcni(t *testing.T) {
	for _, version := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			m := newMachine(t)
			m.vpc.Attach(m.host, "ens6", mac)
			tk := task{nettest.New(t), "c1"}
			steps := sequence(version, mac, 37)
			ctx := context.Background()
			for range 2 {
				err := m.libcni(func(c *libcni.CNIConfig) error {
					for _, s := range steps {
						r, err := c.AddNetwork(ctx, s.parsed(t), tk.runtime(s))
						if err != nil {
							return err
						}
						if err := m.result(s, r, version); err != nil {
							return err
						}
						if version >= "0.4.0" {
							if err := c.CheckNetwork(ctx, s.parsed(t), tk.runtime(s)); err != nil {
								return err
							}
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				m.inShape(tk, 37)
			}
			for range 2 {
				err := m.libcni(func(c *libcni.CNIConfig) error {
					for _, s := range slices.Backward(steps) {
						if err := c.DelNetwork(ctx, s.parsed(t), tk.runtime(s)); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprint(tk.Names(), m.host.Names(), m.given()); got != "[] [ecs1f2e3d4c5b ecs-bridge] map[]" && got != "[] [ecs-bridge ecs1f2e3d4c5b] map[]" {
					t.Errorf("left: %s", got)
				}
			}
		})
	}
}

// result looks at what a plugin printed.
func (m *machine) result(s step, r types.Result, version string) error {
	if r.Version() != version {
		return fmt.Errorf("%s: result of version %s", s.name, r.Version())
	}
	c, err := current.NewResultFromResult(r)
	if err != nil {
		return err
	}
	text, _ := json.Marshal(r)
	switch s.name {
	case "vpc-eni":
		if len(c.Interfaces) != 1 || c.Interfaces[0].Mac != mac || len(c.IPs) != 1 || c.IPs[0].Gateway.String() != "10.20.1.1" || *c.IPs[0].Interface != 0 {
			return fmt.Errorf("%s: %s", s.name, text)
		}
	case "ecs-bridge":
		if len(c.Interfaces) != 3 || len(c.IPs) != 1 || *c.IPs[0].Interface != 2 || m.given()[c.IPs[0].Address.IP.String()] != mac || len(c.Routes) != 2 {
			return fmt.Errorf("%s: %s", s.name, text)
		}
	}
	return nil
}

// TestCnitool: the CNI project's own tool is content.
func TestCnitool(t *testing.T) {
	m := newMachine(t)
	m.vpc.Attach(m.host, "ens6", mac)
	tk := task{nettest.New(t), ""}
	conf := filepath.Join(m.dir, "net.d")
	if err := os.Mkdir(conf, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, s := range sequence("1.1.0", mac, 37) {
		list := fmt.Sprintf(`{"cniVersion":"1.1.0","name":%q,"plugins":[%s]}`, s.name, s.conf)
		if err := os.WriteFile(filepath.Join(conf, s.name+".conflist"), []byte(list), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tool := func(command string, s step) (string, error) {
		var out bytes.Buffer
		err := m.host.Do(func() error {
			// Its cache is in /var/lib, here one of its own.
			c := exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs none /var/lib && mkdir /var/lib/cni && mount --bind "$0" /var/lib/cni && exec "$@"`,
				filepath.Join(m.dir, "cache"), filepath.Join(filepath.Dir(built), "cnitool"), command, s.name, tk.Path()) // on purpose
			c.Env = append(append(os.Environ(), m.env...), "CNI_PATH="+built, "NETCONFPATH="+conf, "CNI_IFNAME="+s.ifname)
			c.Stdout, c.Stderr = &out, &out
			return c.Run()
		})
		return out.String(), err
	}
	if err := os.Mkdir(filepath.Join(m.dir, "cache"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"add", "check", "status", "gc"} {
		for _, s := range sequence("1.1.0", mac, 37) {
			out, err := tool(command, s)
			if err != nil {
				t.Fatalf("%s %s: %v\n%s", command, s.name, err, out)
			}
			if r := (&current.Result{}); command == "add" && (json.Unmarshal([]byte(out), r) != nil || r.CNIVersion != "1.1.0") {
				t.Errorf("%s %s: %s", command, s.name, out)
			}
		}
		if command != "gc" {
			m.inShape(tk, 37)
		}
	}
	for _, s := range slices.Backward(sequence("1.1.0", mac, 37)) {
		if out, err := tool("del", s); err != nil {
			t.Errorf("del %s: %v\n%s", s.name, err, out)
		}
	}
	if got := len(tk.Names()) + len(m.given()); got != 0 {
		t.Errorf("left: %q %v", tk.Names(), m.given())
	}
}

func TestInstalled(t *testing.T) {
	first, err := os.Stat(filepath.Join(built, "vpc-eni"))
	if err != nil {
		t.Fatal(err)
	}
	if size := first.Size(); size > 8<<20 {
		t.Errorf("%d bytes", size)
	}
	run := func(name string, args ...string) string {
		out, err := exec.Command(filepath.Join(built, name), args...).CombinedOutput() // on purpose
		if err != nil {
			t.Errorf("%s %q: %v\n%s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for _, name := range names() {
		info, err := os.Stat(filepath.Join(built, name))
		if err != nil || !os.SameFile(first, info) {
			t.Errorf("%s is not the same file: %v", name, err)
		}
		want := `{"capabilities":["awsvpc-network-mode"]}`
		if name == "aws-appmesh" || name == "ecs-serviceconnect" {
			want = `{}`
		}
		if got := run(name, "--capabilities"); got != want {
			t.Errorf("%s: %s", name, got)
		}
		var about struct{ Version, GitShortHash string }
		if err := json.Unmarshal([]byte(run(name, "--version")), &about); err != nil || about.Version == "" {
			t.Errorf("%s: %+v %v", name, about, err)
		}
	}
	// Again, and from another place; a plugin can be asked by its name too.
	program := filepath.Join(filepath.Dir(built), "ecs-cni")
	dir := t.TempDir()
	for range 2 {
		if out, err := exec.Command(program, "install", dir).CombinedOutput(); err != nil { // on purpose
			t.Fatalf("%v %s", err, out)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(names()) {
		t.Errorf("%v %v", entries, err)
	}
	if out, err := exec.Command(program, "list").Output(); err != nil || strings.Count(string(out), "\n") != len(names()) { // on purpose
		t.Errorf("%v %s", err, out)
	}
	if err := exec.Command(program, "nonsense").Run(); err == nil { // on purpose
		t.Error("nonsense succeeded")
	}
}
