package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"

	"ecsagent/cni/ipam"
	"ecsagent/cni/nettest"
)

const conf = `{"cniVersion":"0.3.0","name":"network-name","type":"ecs-bridge","bridge":"ecs-bridge",
	"isGateway":false,"isDefaultGateway":false,"forceAddress":false,"ipMasq":false,"mtu":0,"hairpinMode":false,
	"ipam":{"type":"ecs-ipam","id":"MAC","ipv4-subnet":"169.254.172.0/22",
	"ipv4-routes":[{"dst":"169.254.170.2/32"},{"dst":"10.0.15.0/24"}]}}`

// host is a host, with a directory of plugins that are this program.
type host struct {
	*nettest.Namespace
	path string
}

func newHost(t *testing.T) *host {
	nettest.NeedRoot(t)
	h := &host{Namespace: nettest.New(t), path: t.TempDir()}
	t.Setenv("IPAM_DB_PATH", filepath.Join(h.path, "data", "eni-ipam.db"))
	if err := os.Symlink("/proc/self/exe", filepath.Join(h.path, ipam.Name)); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *host) args(task *nettest.Namespace, conf string) *skel.CmdArgs {
	mac := fmt.Sprintf("06:00:00:00:00:%02x", task.FD())
	return &skel.CmdArgs{ContainerID: "c" + mac[15:], Netns: task.Path(), IfName: "ecs-eth0", Path: h.path,
		StdinData: []byte(strings.ReplaceAll(conf, "MAC", mac))}
}

func (h *host) run(task *nettest.Namespace, f func(*skel.CmdArgs) error, conf string) error {
	return h.Do(func() error { return f(h.args(task, conf)) })
}

// add is ADD with the result as a value.
func (h *host) add(task *nettest.Namespace, conf string) (r *current.Result, err error) {
	err = h.Do(func() error {
		args := h.args(task, conf)
		r, err = addResult(args)
		return err
	})
	return r, err
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestJoinsTheTask(t *testing.T) {
	h, task := newHost(t), nettest.New(t)
	h.Serve("0.0.0.0:51679")
	var first *current.Result
	for range 2 {
		r, err := h.add(task, conf)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && resultJSON(t, first) != resultJSON(t, r) {
			t.Errorf("again:\n%s\n%s", resultJSON(t, first), resultJSON(t, r))
		}
		first = r
		equal(t, "routes", task.Main(netlink.FAMILY_V4), []string{
			"10.0.15.0/24 via 169.254.172.1 dev ecs-eth0",
			"169.254.170.2/32 via 169.254.172.1 dev ecs-eth0",
			"169.254.172.1/32 via 169.254.172.1 dev ecs-eth0",
		})
		equal(t, "IPv6 routes", task.Main(netlink.FAMILY_V6), nil)
	}
	// Not always the subnet's first: that may be another host's on this machine, and a new
	// database leaves alone what any namespace has.
	own, _ := netip.AddrFromSlice(first.IPs[0].Address.IP.To4())
	inside, bridge := task.Link("ecs-eth0"), h.Link("ecs-bridge")
	if got := inside.Attrs(); got.HardwareAddr.String() != fmt.Sprintf("0a:58:%x:%x:%x:%02x", own.As4()[0], own.As4()[1], own.As4()[2], own.As4()[3]) || got.MTU != 1500 {
		t.Errorf("inside: %+v", got)
	}
	if got := bridge.Attrs(); got.HardwareAddr[0]&3 != 2 || got.MTU != 1500 {
		t.Errorf("bridge: %+v", got)
	}
	outside := h.Link(first.Interfaces[1].Name)
	if a := outside.Attrs(); a.MasterIndex != bridge.Attrs().Index || len(a.Name) != 12 || !strings.HasPrefix(a.Name, "veth") {
		t.Errorf("outside: %+v", a)
	}
	if p, err := h.LinkGetProtinfo(outside); err == nil && !p.Isolated {
		t.Error("the port is not isolated")
	}
	if from, _, err := task.Dial("169.254.172.1:51679"); err != nil || from.Addr() != own {
		t.Errorf("gateway: from %v, %v", from, err)
	}
	check := strings.Replace(conf, `"mtu":0`, `"mtu":0,"prevResult":`+resultJSON(t, first), 1)
	if err := h.run(task, cmdCheck, check); err != nil {
		t.Error(err)
	}
}

func TestTasksReachTheHostOnly(t *testing.T) {
	h, a, b := newHost(t), nettest.New(t), nettest.New(t)
	var addresses []string
	for _, task := range []*nettest.Namespace{a, b} {
		r, err := h.add(task, conf)
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, r.IPs[0].Address.IP.String())
		task.Serve("0.0.0.0:80")
	}
	other := addresses[1] + ":80"
	if _, _, err := h.Dial(other); err != nil {
		t.Error(err)
	}
	if _, _, err := a.Dial(other); err == nil {
		t.Errorf("a task reaches another one's address; theirs are %q", addresses)
	}
	// Also with the route that was taken away, which CAP_NET_ADMIN can put back.
	_, dst, err := parseCIDR("169.254.172.0/22")
	if err == nil {
		err = a.RouteAdd(&netlink.Route{Dst: dst, LinkIndex: a.Link("ecs-eth0").Attrs().Index, Scope: netlink.SCOPE_LINK})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Dial(other); err == nil {
		t.Errorf("a task reaches another one over the bridge; theirs are %q", addresses)
	}
}

func TestIPv6AndDualStack(t *testing.T) {
	for name, subnets := range map[string]string{
		"dual stack": `"ipv4-subnet":"169.254.172.0/22","ipv6-subnet":"fd00:172::/64","ipv6-routes":[{"dst":"fd00:ec2::23/128"}]`,
		"IPv6":       `"ipv6-subnet":"fd00:172::/64","ipv6-routes":[{"dst":"fd00:ec2::23/128"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			h, task := newHost(t), nettest.New(t)
			h.Serve(":51679")
			conf := `{"cniVersion":"1.0.0","name":"n","type":"ecs-bridge","bridge":"ecs-bridge","ipam":{"type":"ecs-ipam","id":"MAC",` + subnets + `}}`
			for range 2 {
				if _, err := h.add(task, conf); err != nil {
					t.Fatal(err)
				}
			}
			if from, _, err := task.Dial("[fd00:172::1]:51679"); err != nil || from.Addr() != netip.MustParseAddr("fd00:172::2") {
				t.Errorf("gateway: from %v, %v", from, err)
			}
			equal(t, "IPv6 routes", task.Main(netlink.FAMILY_V6), []string{
				"fd00:172::1/128 via fd00:172::1 dev ecs-eth0", "fd00:ec2::23/128 via fd00:172::1 dev ecs-eth0",
			})
		})
	}
}

func TestConverges(t *testing.T) {
	steps := map[string]func(h *host, task *nettest.Namespace) error{
		"half made": func(h *host, task *nettest.Namespace) error {
			_, err := newPair(h.Space, task.Space, config{mtu: 1500}, plan{}, "ecs-eth0")
			return err
		},
		"not a port, down": func(h *host, task *nettest.Namespace) error {
			r, err := h.add(task, conf)
			if err != nil {
				return err
			}
			l := h.Link(r.Interfaces[1].Name)
			return errors.Join(h.LinkSetNoMaster(l), h.LinkSetDown(l))
		},
		"no routes": func(h *host, task *nettest.Namespace) error {
			_, err := h.add(task, conf)
			l := task.Link("ecs-eth0")
			return errors.Join(err, task.LinkSetDown(l), task.LinkSetUp(l))
		},
	}
	for name, prepare := range steps {
		t.Run(name, func(t *testing.T) {
			h, task := newHost(t), nettest.New(t)
			h.Serve("0.0.0.0:80")
			if err := prepare(h, task); err != nil {
				t.Fatal(err)
			}
			if _, err := h.add(task, conf); err != nil {
				t.Fatal(err)
			}
			if _, _, err := task.Dial("169.254.172.1:80"); err != nil {
				t.Error(err)
			}
			if n := len(h.Names()); n != 2 {
				t.Errorf("host has %q", h.Names())
			}
			if n := len(task.Main(netlink.FAMILY_V4)); n != 3 {
				t.Errorf("routes: %q", task.Main(netlink.FAMILY_V4))
			}
		})
	}
}

func TestDelete(t *testing.T) {
	h, task := newHost(t), nettest.New(t)
	keep := strings.Replace(conf, `"type":"ecs-ipam"`, `"type":""`, 1)
	if err := h.run(task, cmdDel, conf); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	for range 2 {
		if _, err := h.add(task, conf); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := h.run(task, cmdDel, keep); err != nil {
				t.Fatal(err)
			}
			equal(t, "host", h.Names(), []string{"ecs-bridge"})
			equal(t, "task", task.Names(), nil)
		}
	}
	// The address is kept for as long as the task is not stopped.
	check := func() error { return h.run(task, ipam.Check, conf) }
	if err := check(); err != nil {
		t.Error(err)
	}
	// The namespace is gone: the address is still given back.
	args := h.args(task, conf)
	args.Netns = "/proc/999999999/ns/net"
	for range 2 {
		if err := h.Do(func() error { return cmdDel(args) }); err != nil {
			t.Error(err)
		}
	}
	if err := check(); err == nil {
		t.Error("the address is not given back")
	}
}

func TestManyAtOnce(t *testing.T) {
	h := newHost(t)
	const n = 30
	tasks := make([]*nettest.Namespace, n)
	for i := range tasks {
		tasks[i] = nettest.New(t)
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	var wait sync.WaitGroup
	for _, task := range tasks {
		wait.Go(func() {
			r, err := h.add(task, conf)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			a := r.IPs[0].Address.String()
			if seen[a] {
				t.Errorf("%s was given twice", a)
			}
			seen[a] = true
		})
	}
	wait.Wait()
	if got := len(h.Names()); got != n+1 {
		t.Errorf("%d interfaces", got)
	}
	if a, err := h.Addresses(h.Link("ecs-bridge")); err != nil || len(slices.DeleteFunc(a, func(a netlink.Addr) bool { return a.IP.To4() == nil })) != 1 {
		t.Errorf("bridge: %v %v", a, err)
	}
	// When the namespaces die, so do the pairs.
	for _, task := range tasks {
		task.Destroy()
	}
	nettest.Eventually(t, func() error {
		if got := h.Names(); len(got) != 1 {
			return fmt.Errorf("host has %q", got)
		}
		return nil
	})
}

func TestErrorsNameTheCause(t *testing.T) {
	for _, c := range []struct {
		name, conf string
		prepare    func(t *testing.T, h *host, task *nettest.Namespace)
		want       string
	}{
		{name: "the bridge is no bridge", prepare: func(t *testing.T, h *host, _ *nettest.Namespace) {
			nettest.NewVPC(t).Attach(h.Namespace, "ecs-bridge", "06:00:00:00:00:01")
		}, want: `interface "ecs-bridge" is a veth, not a bridge`},
		{name: "the bridge was renamed", prepare: func(t *testing.T, h *host, _ *nettest.Namespace) {
			other := nettest.New(t)
			_, err := h.add(other, conf)
			l := h.Link("ecs-bridge")
			if err = errors.Join(err, h.LinkSetDown(l), h.LinkSetName(l, "mine"), h.LinkSetUp(l)); err != nil {
				t.Fatal(err)
			}
		}, want: `there is no bridge "ecs-bridge", but interface "mine" has its address 169.254.172.1: was the bridge renamed?`},
		{name: "the bridge has another address", prepare: func(t *testing.T, h *host, _ *nettest.Namespace) {
			a := netlink.NewLinkAttrs()
			a.Name = "ecs-bridge"
			if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: a}); err != nil {
				t.Fatal(err)
			}
			h.Assign("ecs-bridge", "10.9.9.1/24")
		}, want: `mismatch in bridge "ecs-bridge" address: it has 10.9.9.1/24, and the tasks' gateway is 169.254.172.1/22`},
		{name: "the name is taken", prepare: func(t *testing.T, h *host, task *nettest.Namespace) {
			a := netlink.NewLinkAttrs()
			a.Name = "ecs-eth0"
			if err := task.LinkAdd(&netlink.Bridge{LinkAttrs: a}); err != nil {
				t.Fatal(err)
			}
		}, want: `interface "ecs-eth0" of the task is a bridge`},
		{name: "no IPAM plugin", conf: strings.Replace(conf, "ecs-ipam", "no-ipam", 1), want: `ipam.type: "no-ipam"; want a plugin in CNI_PATH`},
		{name: "no address left", conf: strings.Replace(conf, "172.0/22", "172.0/30", 1), prepare: func(t *testing.T, h *host, _ *nettest.Namespace) {
			if _, err := h.add(nettest.New(t), strings.Replace(conf, "172.0/22", "172.0/30", 1)); err != nil {
				t.Fatal(err)
			}
		}, want: "failed to find available ip addresses in the subnet 169.254.172.0/30"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, task := newHost(t), nettest.New(t)
			if c.conf == "" {
				c.conf = conf
			}
			if c.prepare != nil {
				c.prepare(t, h, task)
			}
			before := fmt.Sprint(h.Names(), task.Names())
			if _, err := h.add(task, c.conf); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v; want %q", err, c.want)
			}
			if after := fmt.Sprint(h.Names(), task.Names()); after != before {
				t.Errorf("before %s, after %s", before, after)
			}
			if err := h.run(task, ipam.Check, conf); err == nil {
				t.Error("the address is still given")
			}
		})
	}
}

// TestOtherIPAM: any IPAM plugin will do, as a program.
func TestOtherIPAM(t *testing.T) {
	h, task := newHost(t), nettest.New(t)
	script := `#!/bin/sh
echo "$CNI_COMMAND" >>` + h.path + `/calls
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"0.3.0","ips":[{"version":"4","address":"10.88.0.7/16","gateway":"10.88.0.1"}],"routes":[{"dst":"0.0.0.0/0"}]}'
`
	if err := os.WriteFile(filepath.Join(h.path, "other"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	conf := `{"cniVersion":"0.3.0","name":"n","bridge":"br7","ipam":{"type":"other"}}`
	for range 2 {
		if r, err := h.add(task, conf); err != nil || len(r.Routes) != 2 {
			t.Fatalf("%v %v", r, err)
		}
	}
	equal(t, "routes", task.Main(netlink.FAMILY_V4), []string{"default via 10.88.0.1 dev ecs-eth0", "10.88.0.1/32 via 10.88.0.1 dev ecs-eth0"})
	if err := h.run(task, cmdDel, conf); err != nil {
		t.Error(err)
	}
	if calls, err := os.ReadFile(filepath.Join(h.path, "calls")); err != nil || string(calls) != "ADD\nADD\nDEL\n" {
		t.Errorf("calls %q %v", calls, err)
	}
	failing := `#!/bin/sh
echo '{"cniVersion":"0.3.0","code":11,"msg":"the database is closed today"}'
exit 1
`
	if err := os.WriteFile(filepath.Join(h.path, "other"), []byte(failing), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := h.add(task, conf); err == nil || !strings.Contains(err.Error(), "the database is closed today") {
		t.Error(err)
	}
}
