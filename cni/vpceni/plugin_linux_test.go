package vpceni

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"

	"ecsagent/cni/nettest"
)

const mac = "06:1f:2e:3d:4c:5b"

// world is a VPC, a host with one interface and a task.
type world struct {
	vpc        *nettest.VPC
	host, task *nettest.Namespace
	peer       string
}

func newWorld(t *testing.T) *world {
	w := &world{vpc: nettest.NewVPC(t), host: nettest.New(t), task: nettest.New(t)}
	w.peer = w.vpc.Attach(w.host, "ens6", mac)
	return w
}

func config4(more string) string {
	return `{"cniVersion":"1.0.0","name":"network-name","type":"vpc-eni","dns":{},"eniName":"","eniMACAddress":"` + mac + `",
		"eniIPAddresses":["10.20.1.37/24"],"gatewayIPAddresses":["10.20.1.1"],"useExistingNetwork":false` + more + `}`
}

func (w *world) args(conf string) *skel.CmdArgs {
	return &skel.CmdArgs{ContainerID: "c1", Netns: w.task.Path(), IfName: "eth0", StdinData: []byte(conf)}
}

func (w *world) add(conf string) error {
	return w.host.Do(func() error {
		c, _, err := read(w.args(conf), parse)
		if err != nil {
			return err
		}
		_, err = add(c, w.task.Path(), "eth0", false)
		return err
	})
}

func (w *world) run(f func(*skel.CmdArgs) error, conf string) error {
	return w.host.Do(func() error { return f(w.args(conf)) })
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestMovesAndConfigures(t *testing.T) {
	w := newWorld(t)
	w.vpc.Serve("0.0.0.0:80")
	for range 2 { // also when it is called again
		if err := w.add(config4("")); err != nil {
			t.Fatal(err)
		}
		equal(t, "host", w.host.Names(), nil)
		equal(t, "task", w.task.Names(), []string{"eth0"})
		if got := w.task.Link("eth0").Attrs().MTU; got != 9001 {
			t.Errorf("MTU %d", got)
		}
		equal(t, "routes", w.task.Main(netlink.FAMILY_V4), []string{"default via 10.20.1.1 dev eth0", "10.20.1.0/24 dev eth0"})
		if err := w.run(Plugin().Funcs.Check, config4("")); err != nil {
			t.Error(err)
		}
	}
	for _, to := range []string{nettest.Gateway4 + ":80", nettest.Metadata4 + ":80"} {
		if from, _, err := w.task.Dial(to); err != nil || from.Addr() != netip.MustParseAddr("10.20.1.37") {
			t.Errorf("%s: from %v, %v", to, from, err)
		}
	}
}

func TestBlocksMetadata(t *testing.T) {
	w := newWorld(t)
	w.vpc.Serve(":80")
	if err := w.add(config4(`,"blockInstanceMetadata":true`)); err != nil {
		t.Fatal(err)
	}
	equal(t, "routes", w.task.Main(netlink.FAMILY_V4),
		[]string{"default via 10.20.1.1 dev eth0", "10.20.1.0/24 dev eth0", "blackhole 169.254.169.254/32"})
	if got := w.task.Main(netlink.FAMILY_V6); !slices.Contains(got, "blackhole fd00:ec2::254/128") {
		t.Errorf("IPv6 routes: %q", got)
	}
	if _, _, err := w.task.Dial(nettest.Metadata4 + ":80"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("metadata: %v", err)
	}
	if _, _, err := w.task.Dial("[" + nettest.Metadata6 + "]:80"); err == nil {
		t.Error("metadata over IPv6 answered")
	}
	if _, _, err := w.task.Dial(nettest.Gateway4 + ":80"); err != nil {
		t.Error(err)
	}
	// The same without: the routes go.
	if err := w.add(config4("")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.task.Dial(nettest.Metadata4 + ":80"); err != nil {
		t.Errorf("metadata: %v", err)
	}
	if err := w.run(Plugin().Funcs.Check, config4(`,"blockInstanceMetadata":true`)); err == nil || !strings.Contains(err.Error(), "not blocked") {
		t.Errorf("check: %v", err)
	}
}

func TestAddressFamilies(t *testing.T) {
	for _, c := range []struct{ name, addresses, gateways, dial string }{
		{"dual stack", `["10.20.1.38/24","2001:db8:20:1::38/64"]`, `["10.20.1.1","2001:db8:20:1::1"]`, "[2001:db8:20:1::1]:80"},
		{"IPv6 only", `["2001:db8:20:1::39/64"]`, `["2001:db8:20:1::1"]`, "[fd00:ec2::254]:80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.vpc.Serve(":80")
			conf := strings.NewReplacer(`["10.20.1.37/24"]`, c.addresses, `["10.20.1.1"]`, c.gateways).Replace(config4(""))
			if err := w.add(conf); err != nil {
				t.Fatal(err)
			}
			if err := w.run(Plugin().Funcs.Check, conf); err != nil {
				t.Error(err)
			}
			// At once: no time for duplicate address detection.
			if _, _, err := w.task.Dial(c.dial); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTwoTasks(t *testing.T) {
	w := newWorld(t)
	w.vpc.Attach(w.host, "ens7", "06:1f:2e:3d:4c:5c")
	second := &world{vpc: w.vpc, host: w.host, task: nettest.New(t)}
	if err := w.add(config4("")); err != nil {
		t.Fatal(err)
	}
	if err := second.add(strings.NewReplacer(mac, "06:1f:2e:3d:4c:5c", ".37/", ".38/").Replace(config4(""))); err != nil {
		t.Fatal(err)
	}
	w.task.Serve("0.0.0.0:80")
	second.task.Serve("0.0.0.0:80")
	for _, a := range []string{"10.20.1.37", "10.20.1.38"} {
		if _, to, err := w.vpc.Dial(a + ":80"); err != nil || to.Addr().String() != a {
			t.Errorf("%s: %v %v", a, to, err)
		}
	}
}

func TestConvergesFromEveryStep(t *testing.T) {
	steps := map[string]func(w *world) error{
		"moved": func(w *world) error { return w.host.LinkSetNsFd(w.host.Link("ens6"), w.task.FD()) },
		"left by another name": func(w *world) error {
			l := w.host.Link("ens6")
			return errors.Join(w.host.LinkSetName(l, "eth7"), w.host.LinkSetNsFd(l, w.task.FD()))
		},
		"wrong address and route": func(w *world) error {
			conf := strings.NewReplacer(".37/", ".99/").Replace(config4(`,"blockInstanceMetadata":true`))
			if err := w.add(conf); err != nil {
				return err
			}
			_, dst, _ := net.ParseCIDR("10.0.0.0/8")
			return w.task.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP("10.20.1.1"), LinkIndex: w.task.Link("eth0").Attrs().Index})
		},
		"down": func(w *world) error {
			if err := w.add(config4("")); err != nil {
				return err
			}
			return w.task.LinkSetDown(w.task.Link("eth0"))
		},
	}
	for name, prepare := range steps {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if err := prepare(w); err != nil {
				t.Fatal(err)
			}
			if err := w.add(config4("")); err != nil {
				t.Fatal(err)
			}
			equal(t, "task", w.task.Names(), []string{"eth0"})
			equal(t, "routes", w.task.Main(netlink.FAMILY_V4), []string{"default via 10.20.1.1 dev eth0", "10.20.1.0/24 dev eth0"})
			if err := w.run(Plugin().Funcs.Check, config4("")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	del := Plugin().Funcs.Del
	if err := w.run(del, config4("")); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	equal(t, "host", w.host.Names(), []string{"ens6"})
	if err := w.add(config4("")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.run(del, config4("")); err != nil {
			t.Fatal(err)
		}
		equal(t, "host", w.host.Names(), []string{"ecs1f2e3d4c5b"})
		equal(t, "task", w.task.Names(), nil)
	}
	if a, err := w.host.Addresses(w.host.Link("ecs1f2e3d4c5b")); err != nil || len(a) != 0 {
		t.Errorf("addresses %v, %v", a, err)
	}
	// It can be used again, and given back where its name is taken.
	if err := w.add(config4("")); err != nil {
		t.Fatal(err)
	}
	w.vpc.Attach(w.host, "ecs1f2e3d4c5b", "06:00:00:00:00:01")
	if err := w.run(del, config4("")); err != nil {
		t.Fatal(err)
	}
	equal(t, "host", w.host.Names(), []string{"ecs1f2e3d4c5b", "ecs1f2e3d4c5b0"})
	// The namespace is gone; the path names the plugin's own.
	for _, netns := range []string{"", "/proc/999999999/ns/net", "no-such-name", "/dev/null", w.host.Path()} {
		args := w.args(config4(""))
		args.Netns = netns
		if err := w.host.Do(func() error { return del(args) }); err != nil {
			t.Errorf("netns %q: %v", netns, err)
		}
		if err := w.host.Do(func() error { return Plugin().Funcs.Add(args) }); err == nil {
			t.Errorf("netns %q: ADD succeeded", netns)
		}
	}
}

func TestDetachedWhileInUse(t *testing.T) {
	w := newWorld(t)
	if err := w.add(config4("")); err != nil {
		t.Fatal(err)
	}
	w.vpc.Detach(w.peer)
	if err := w.run(Plugin().Funcs.Del, config4("")); err != nil {
		t.Error(err)
	}
	if err := w.run(Plugin().Funcs.Check, config4("")); err == nil {
		t.Error("check succeeded")
	}
}

func TestErrorsNameTheCause(t *testing.T) {
	for _, c := range []struct {
		name    string
		conf    string
		prepare func(w *world)
		want    string
		again   bool
	}{
		{name: "a MAC that never appears", conf: strings.ReplaceAll(config4(""), mac, "06:00:00:00:00:99"), want: "no such network interface with MAC 06:00:00:00:00:99", again: true},
		{name: "a MAC that appears twice", conf: config4(""), prepare: func(w *world) { w.vpc.Attach(w.host, "ens9", mac) }, want: "MAC " + mac + " is on 2 network interfaces, ens6 and ens9"},
		{name: "a gateway elsewhere", conf: strings.ReplaceAll(config4(""), `["10.20.1.1"]`, `["10.99.0.1"]`), want: "the gateway is in the subnet of none of the addresses [10.20.1.37/24]"},
		{name: "a name that is taken", conf: config4(""), prepare: func(w *world) { w.vpc.Attach(w.task, "eth0", "06:00:00:00:00:01") }, want: `already has an interface "eth0", with MAC 06:00:00:00:00:01`},
		{name: "IPv6 switched off", conf: strings.ReplaceAll(config4(""), `["10.20.1.37/24"]`, `["2001:db8::1/64"]`), prepare: func(w *world) { w.noIPv6(t) }, want: "IPv6 is switched off"},
		{name: "a name that nobody has", conf: strings.ReplaceAll(config4(""), `"eniName":""`, `"eniName":"ens99"`), want: "no such network interface: ens99", again: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if c.prepare != nil {
				c.prepare(w)
			}
			before := fmt.Sprint(w.task.Names())
			err := w.add(c.conf)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v; want %q", err, c.want)
			}
			var e *types.Error
			if again := errors.As(err, &e) && e.Code == types.ErrTryAgainLater; again != c.again {
				t.Errorf("try again: %v", again)
			}
			// Nothing of it stays in the task, and the host has its interface back.
			if got := fmt.Sprint(w.task.Names()); got != before {
				t.Errorf("task has %s", got)
			}
			if n := len(w.host.Names()); n == 0 {
				t.Error("the host lost its interface")
			}
		})
	}
}

func (w *world) noIPv6(t *testing.T) {
	t.Helper()
	err := w.task.Do(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0),
			os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0))
	})
	if err != nil {
		t.Skip("cannot switch IPv6 off: ", err)
	}
}

func TestLegacy(t *testing.T) {
	w := newWorld(t)
	conf := `{"cniVersion":"0.3.0","name":"network-name","type":"ecs-eni","eni":"eni-0abc12345","mac":"` + mac + `",
		"ip-addresses":["10.20.1.37/24"],"gateway-ip-addresses":["10.20.1.1"],"block-instance-metadata":true,"stay-down":false,"mtu":1400}`
	for range 2 {
		err := w.host.Do(func() error {
			c, _, err := read(w.args(conf), parseLegacy)
			if err != nil {
				return err
			}
			r, err := add(c, w.task.Path(), "eth0", true)
			if err == nil && len(r.IPs) != 1 {
				err = fmt.Errorf("result %v", r)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.task.Link("eth0").Attrs().MTU; got != 1400 {
			t.Errorf("MTU %d", got)
		}
	}
	if err := w.run(Legacy().Funcs.Check, conf); err != nil {
		t.Error(err)
	}
	if err := w.run(Legacy().Funcs.Del, conf); err != nil || !w.host.Has("ecs1f2e3d4c5b") {
		t.Errorf("%v, host has %v", err, w.host.Names())
	}
}

func TestStaysDown(t *testing.T) {
	w := newWorld(t)
	if err := w.add(config4(`,"opStateDown":true`)); err != nil {
		t.Fatal(err)
	}
	equal(t, "task", w.task.Names(), []string{"ens6"})
	if err := w.run(Plugin().Funcs.Del, config4(`,"opStateDown":true`)); err != nil || !w.host.Has("ecs1f2e3d4c5b") {
		t.Errorf("%v, host has %v", err, w.host.Names())
	}
}
