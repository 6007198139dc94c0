package appmesh

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/vishvananda/netlink"

	"ecsagent/cni/nettest"
	"ecsagent/cni/proxyrules"
)

// TestRedirects: every connection lands where it should (docs/spec/05 section 7.3, N16).
func TestRedirects(t *testing.T) {
	vpc, host, task := nettest.NewVPC(t), nettest.New(t), nettest.New(t)
	vpc.Attach(task, "eth0", "06:00:00:00:00:01")
	task.Assign("eth0", "10.20.1.37/24", "2001:db8:20:1::37/64")
	vpc.Assign("lo", "10.99.0.1/32", "169.254.170.2/32", "192.0.2.1/32")
	toVPC(t, task)
	vpc.Serve("0.0.0.0:80")
	vpc.Serve("0.0.0.0:22")
	task.Serve("0.0.0.0:15000")
	task.Serve("0.0.0.0:15001")
	task.Serve("0.0.0.0:7000")

	var ports []string
	for p := range 20 {
		ports = append(ports, fmt.Sprintf("%q", fmt.Sprint(8080+p)))
	}
	many := strings.Replace(conf, `"8080","9090"`, strings.Join(ports, ","), 1)
	args := &skel.CmdArgs{ContainerID: "c1", Netns: task.Path(), IfName: "aws-appmesh", StdinData: []byte(many)}
	run := func(f func(*skel.CmdArgs) error) error { return host.Do(func() error { return f(args) }) }
	p := Plugin().Funcs
	if err := run(p.Del); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	for range 2 {
		if err := run(addQuietly); err != nil {
			t.Fatal(err)
		}
		if err := run(p.Check); err != nil {
			t.Error(err)
		}
	}
	lands := func(from *nettest.Namespace, to, want string) {
		t.Helper()
		_, at, err := from.Dial(to)
		if got := fmt.Sprint(at.Port()); err != nil || got != want {
			t.Errorf("%s lands at %v (%v); want port %s", to, at, err, want)
		}
	}
	lands(task, "10.99.0.1:80", "15001")
	lands(task, "10.99.0.1:22", "22")
	lands(task, "192.0.2.1:80", "80")
	lands(task, "169.254.170.2:80", "80")
	lands(task, "10.20.1.37:7000", "7000")
	for p := range 20 {
		lands(vpc.Namespace, fmt.Sprintf("10.20.1.37:%d", 8080+p), "15000")
	}
	lands(vpc.Namespace, "10.20.1.37:7000", "7000")
	for range 2 {
		if err := run(p.Del); err != nil {
			t.Fatal(err)
		}
	}
	lands(task, "10.99.0.1:80", "80")
	if err := run(p.Check); err == nil {
		t.Error("check succeeded")
	}
	args.Netns = "/proc/999999999/ns/net"
	if err := run(p.Del); err != nil {
		t.Errorf("no namespace: %v", err)
	}
}

// addQuietly is ADD without its output.
func addQuietly(args *skel.CmdArgs) error { return each(args, proxyrules.Install) }

func toVPC(t *testing.T, n *nettest.Namespace) {
	t.Helper()
	all := net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	err := n.RouteAdd(&netlink.Route{Dst: &all, Gw: net.ParseIP(nettest.Gateway4), LinkIndex: n.Link("eth0").Attrs().Index})
	if err != nil {
		t.Fatal(err)
	}
}
