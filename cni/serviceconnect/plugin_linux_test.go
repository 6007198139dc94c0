package serviceconnect

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/vishvananda/netlink"

	"ecsagent/cni/nettest"
)

type call struct {
	t    *testing.T
	host *nettest.Namespace
	task *nettest.Namespace
	conf string
}

func (c call) run(f func(*skel.CmdArgs) error) error {
	args := &skel.CmdArgs{ContainerID: "c1", Netns: c.task.Path(), IfName: "ecs-sc", StdinData: []byte(c.conf)}
	return c.host.Do(func() error { return f(args) })
}

// cycle installs twice, does what there is to do, and removes twice.
func (c call) cycle(between func()) {
	c.t.Helper()
	p := Plugin().Funcs
	for range 2 {
		if err := c.run(func(args *skel.CmdArgs) error { _, err := each(args, add); return err }); err != nil {
			c.t.Fatal(err)
		}
		if err := c.run(p.Check); err != nil {
			c.t.Error(err)
		}
	}
	between()
	for range 2 {
		if err := c.run(p.Del); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := c.run(p.Check); err == nil {
		c.t.Error("check succeeded after DEL")
	}
}

func lands(t *testing.T, from *nettest.Namespace, to, want string) {
	t.Helper()
	if _, at, err := from.Dial(to); err != nil || at != netip.MustParseAddrPort(want) {
		t.Errorf("%s lands at %v (%v); want %s", to, at, err, want)
	}
}

// TestNAT is N14 of docs/spec/05 section 7.3, with both families.
func TestNAT(t *testing.T) {
	vpc, task := nettest.NewVPC(t), nettest.New(t)
	vpc.Attach(task, "eth0", "06:00:00:00:00:01")
	task.Assign("eth0", "10.20.1.37/24", "2001:db8:20:1::37/64")
	defaultRoute(t, task, nettest.Gateway4)
	defaultRoute(t, task, nettest.Gateway6)
	for _, port := range []string{":40001", ":40002", ":8080"} {
		task.Serve(port)
	}
	c := call{t, nettest.New(t), task, strings.Replace(natConf, `"enableIPv4"`, `"enableIPv6":true,"enableIPv4"`, 1)}
	if err := c.run(Plugin().Funcs.Del); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	c.cycle(func() {
		lands(t, task, "127.255.0.3:80", "127.0.0.1:40002")
		lands(t, task, "[2002:f0a0::3]:80", "[::1]:40002")
		lands(t, vpc.Namespace, "10.20.1.37:8080", "10.20.1.37:40001")
		lands(t, vpc.Namespace, "[2001:db8:20:1::37]:8080", "[2001:db8:20:1::37]:40001")
		lands(t, task, "127.0.0.1:8080", "127.0.0.1:8080")
	})
	lands(t, vpc.Namespace, "10.20.1.37:8080", "10.20.1.37:8080")
	task.Destroy()
}

// TestTransparent is N15: an application's connection to a VIP arrives at the proxy, in
// another namespace, with its destination.
func TestTransparent(t *testing.T) {
	bridge, proxy, app := nettest.NewVPC(t), nettest.New(t), nettest.New(t)
	bridge.Attach(proxy, "eth0", "06:00:00:00:00:01")
	bridge.Attach(app, "eth0", "06:00:00:00:00:02")
	proxy.Assign("eth0", "10.20.1.5/24")
	app.Assign("eth0", "10.20.1.6/24")
	proxy.Transparent("0.0.0.0:40002")
	host := nettest.New(t)
	vip := `"vip":{"ipv4Cidr":"10.255.0.0/16"}},"enableIPv4":true}`
	p := call{t, host, proxy, `{"cniVersion":"0.3.0","name":"n","type":"ecs-serviceconnect","ingressConfig":[{"listenerPort":40001}],
		"egressConfig":{"listenerPort":40002,"redirectIP":null,"redirectMode":"tproxy",` + vip}
	a := call{t, host, app, `{"cniVersion":"0.3.0","name":"n","type":"ecs-serviceconnect","ingressConfig":[{"listenerPort":40001}],
		"egressConfig":{"listenerPort":0,"redirectIP":{"ipv4":"10.20.1.5"},"redirectMode":"tproxy",` + vip}
	p.cycle(func() {
		a.cycle(func() {
			lands(t, app, "10.255.0.3:80", "10.255.0.3:80")
			if rules, err := proxy.RuleList(netlink.FAMILY_V4); err != nil || countMarked(rules) != 1 {
				t.Errorf("policy rules: %v %v", rules, err)
			}
		})
	})
	if rules, err := proxy.RuleList(netlink.FAMILY_V4); err != nil || countMarked(rules) != 0 {
		t.Errorf("policy rules: %v %v", rules, err)
	}
	if got := app.Main(netlink.FAMILY_V4); slices.ContainsFunc(got, func(r string) bool { return strings.HasPrefix(r, "10.255") }) {
		t.Errorf("routes: %q", got)
	}
}

func countMarked(rules []netlink.Rule) (n int) {
	for _, r := range rules {
		if r.Table == routingTable {
			n++
		}
	}
	return n
}

func defaultRoute(t *testing.T, n *nettest.Namespace, gateway string) {
	t.Helper()
	ip := net.ParseIP(gateway)
	all := net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	if ip.To4() == nil {
		all = net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	if err := n.RouteAdd(&netlink.Route{Dst: &all, Gw: ip, LinkIndex: n.Link("eth0").Attrs().Index}); err != nil {
		t.Fatal(err)
	}
}

func TestErrorsNameTheCause(t *testing.T) {
	host, task := nettest.New(t), nettest.New(t)
	c := call{t, host, task, `{"cniVersion":"0.3.0","name":"n","enableIPv4":true,
		"egressConfig":{"redirectIP":{"ipv4":"10.20.1.5"},"redirectMode":"tproxy","vip":{"ipv4Cidr":"10.255.0.0/16"}}}`}
	err := c.run(func(args *skel.CmdArgs) error { _, err := each(args, add); return err })
	if err == nil || !strings.Contains(err.Error(), "route 10.255.0.0/16 via the proxy at 10.20.1.5") {
		t.Error(err)
	}
}
