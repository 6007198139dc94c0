package branch

import (
	"errors"
	"io/fs"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ecsagent/cni/kernel"
	"ecsagent/cni/nettest"
)

// standIns makes veth devices where a kernel without 802.1Q makes no VLANs: one end in
// the task, as the VLAN device would be, the other in the VPC.
type standIns struct {
	vpc  *nettest.VPC
	made []device
	err  error
}

func (s *standIns) Create(_, task *kernel.Space, d device) error {
	if s.err != nil {
		return s.err
	}
	s.made = append(s.made, d)
	a := netlink.NewLinkAttrs()
	a.Name, a.HardwareAddr = d.name, d.mac
	v := &netlink.Veth{LinkAttrs: a, PeerName: "branch", PeerNamespace: netlink.NsFd(s.vpc.FD())}
	if err := task.LinkAdd(v); err != nil {
		return err
	}
	end := s.vpc.Link("branch")
	return errors.Join(s.vpc.LinkSetMasterByIndex(end, s.vpc.Link("vpcbr").Attrs().Index), s.vpc.LinkSetUp(end))
}

func (s *standIns) Is(l netlink.Link, _ int) bool { return l.Type() == "veth" }

type world struct {
	vpc        *nettest.VPC
	host, task *nettest.Namespace
	kernel     *standIns
}

func newWorld(t *testing.T) *world {
	w := &world{vpc: nettest.NewVPC(t), host: nettest.New(t), task: nettest.New(t)}
	w.vpc.Attach(w.host, "ens6", "06:aa:bb:cc:dd:01")
	w.kernel = &standIns{vpc: w.vpc}
	return w
}

func (w *world) call(t *testing.T, conf string) *call {
	t.Helper()
	c, err := parse([]byte(conf), "")
	if err != nil {
		t.Fatal(err)
	}
	return &call{config: c, netns: w.task.Path(), ifname: "eth0", kernel: w.kernel}
}

func (w *world) add(t *testing.T, conf string) error {
	c := w.call(t, conf)
	return w.host.Do(func() error { _, err := c.add(); return err })
}

func TestLifecycle(t *testing.T) {
	w := newWorld(t)
	w.vpc.Serve("0.0.0.0:80")
	c := w.call(t, conf)
	if err := w.host.Do(c.del); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	for range 2 {
		if err := w.add(t, conf); err != nil {
			t.Fatal(err)
		}
		if err := w.host.Do(c.check); err != nil {
			t.Error(err)
		}
	}
	want := device{name: "ens6.42", trunk: w.host.Link("ens6").Attrs().Index, mac: net.HardwareAddr{6, 0xaa, 0xbb, 0xcc, 0xdd, 0x42}, id: 42, mtu: 9001}
	if len(w.kernel.made) != 1 || w.kernel.made[0].name != want.name || w.kernel.made[0].trunk != want.trunk || w.kernel.made[0].id != want.id || w.kernel.made[0].mtu != want.mtu {
		t.Errorf("made %+v; want %+v", w.kernel.made, want)
	}
	if got := w.task.Main(netlink.FAMILY_V4); !slices.Contains(got, "blackhole 169.254.169.254/32") || !slices.Contains(got, "default via 10.20.1.1 dev eth0") {
		t.Errorf("routes: %q", got)
	}
	if _, _, err := w.task.Dial(nettest.Gateway4 + ":80"); err != nil {
		t.Error(err)
	}
	if l := w.host.Link("ens6"); l.Attrs().Flags&net.FlagUp == 0 {
		t.Error("the trunk is down")
	}
	for range 2 {
		if err := w.host.Do(c.del); err != nil {
			t.Fatal(err)
		}
		if got := w.task.Names(); len(got) != 0 {
			t.Errorf("task has %q", got)
		}
	}
	c.netns = "/proc/999999999/ns/net"
	if err := w.host.Do(c.del); err != nil {
		t.Errorf("no namespace: %v", err)
	}
}

func TestErrorsNameTheCause(t *testing.T) {
	for name, c := range map[string]struct {
		conf string
		err  error
		want string
	}{
		"no trunk":   {strings.Replace(conf, "dd:01", "dd:09", 1), nil, "trunk interface: no such network interface with MAC 06:aa:bb:cc:dd:09"},
		"no 802.1Q":  {conf, unix.EOPNOTSUPP, "module 8021q"},
		"in use":     {conf, fs.ErrExist, `VLAN 42 of trunk "ens6"`},
		"no gateway": {strings.Replace(conf, `["10.20.1.1"]`, `["10.9.9.9"]`, 1), nil, "the gateway is in the subnet of none"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.kernel.err = c.err
			if err := w.add(t, c.conf); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want %q", err, c.want)
			}
			if got := w.task.Names(); len(got) != 0 {
				t.Errorf("task has %q", got)
			}
		})
	}
}

// TestRequest is the message to the kernel, which this test's kernel may refuse.
func TestRequest(t *testing.T) {
	w := newWorld(t)
	l := device{name: "ens6.42", trunk: 5, mac: net.HardwareAddr{6, 0, 0, 0, 0, 1}, id: 42, mtu: 9001}.link(w.task.FD())
	if l.Type() != "vlan" || l.ParentIndex != 5 || l.VlanId != 42 || l.Namespace != netlink.NsFd(w.task.FD()) || l.VlanProtocol != netlink.VLAN_PROTOCOL_8021Q {
		t.Errorf("%+v", l)
	}
	if !(vlanDevices{}).Is(l, 42) || (vlanDevices{}).Is(l, 43) || (vlanDevices{}).Is(w.host.Link("ens6"), 42) {
		t.Error("a VLAN device is not told from others")
	}
	// For real, as far as the kernel goes.
	run := func(f func(*skel.CmdArgs) error) error {
		args := &skel.CmdArgs{ContainerID: "c1", Netns: w.task.Path(), IfName: "eth0", StdinData: []byte(conf)}
		return w.host.Do(func() error { return f(args) })
	}
	c := w.call(t, conf)
	c.kernel = vlanDevices{}
	err := w.host.Do(func() error { _, err := c.add(); return err })
	switch {
	case err == nil:
		if v, ok := w.task.Link("eth0").(*netlink.Vlan); !ok || v.VlanId != 42 || v.Attrs().HardwareAddr.String() != "06:aa:bb:cc:dd:42" {
			t.Errorf("made %+v", w.task.Link("eth0"))
		}
		if err := run(Plugin().Funcs.Check); err != nil {
			t.Error(err)
		}
	case !strings.Contains(err.Error(), "module 8021q"):
		t.Error(err)
	default:
		t.Log(err)
	}
	if err := run(Plugin().Funcs.Del); err != nil || len(w.task.Names()) != 0 {
		t.Errorf("%v, task has %q", err, w.task.Names())
	}
}
