package vswitch

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const (
	taskConf = `{"cniVersion":"0.3.0","name":"task","type":"vpc-eni","dns":{"nameservers":["10.30.0.2"],"search":["corp.example.com"]},
 "eniName":"Ethernet 4","eniMACAddress":"06:1f:2e:3d:4c:5b","eniIPAddresses":["10.30.1.25/24"],
 "gatewayIPAddresses":["10.30.1.1"],"useExistingNetwork":false,"blockInstanceMetadata":true}`
	natConf = `{"cniVersion":"0.3.0","name":"nat","type":"vpc-eni","dns":{},"eniName":"","eniMACAddress":"","eniIPAddresses":null,
 "gatewayIPAddresses":null,"useExistingNetwork":true,"blockInstanceMetadata":true}`
	taskNetwork = "taskbr061f2e3d4c5b"
)

func config(t interface{ Fatal(...any) }, text string) Config {
	c, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func target(t interface{ Fatal(...any) }, container, namespace string) Target {
	to, err := ParseTarget(container, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestTask: the two networks of a task, for its pause container and for one more, and
// everything as it was afterwards.
func TestTask(t *testing.T) {
	w := newWindows()
	before := w.state()
	h, task, nat := w.host(), config(t, taskConf), config(t, natConf)
	owner, app := target(t, pause, "none"), target(t, "app", "container:"+pause)

	e, err := h.Add(t.Context(), task, owner)
	if err != nil {
		t.Fatal(err)
	}
	wantCalls := []string{
		"version", "find endpoint " + taskNetwork + "-ep-" + pause, "find network " + taskNetwork, "list adapters", "create network " + taskNetwork,
		"list adapters", "disable vEthernet (Ethernet 4)", "create endpoint " + taskNetwork + "-ep-" + pause, "attach to " + pause,
	}
	if diff := cmp.Diff(wantCalls, w.calls); diff != "" {
		t.Error(diff)
	}
	if e.Address.String() != "10.30.1.25/24" || e.Gateway.String() != "10.30.1.1" || e.MAC.String() != eniMAC ||
		!slices.Equal(e.DNSServers, []string{"10.30.0.2"}) || !slices.Equal(e.DNSSearch, []string{"corp.example.com"}) {
		t.Errorf("%+v", e)
	}
	rules, err := json.Marshal(e.Policies)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`[{"Type":"ACL","Action":"Block","Direction":"Out","RemoteAddresses":"169.254.169.254/32","Protocol":256,"Priority":200},`+
		`{"Type":"ACL","Action":"Allow","Direction":"In","Protocol":256,"Priority":300},`+
		`{"Type":"ACL","Action":"Allow","Direction":"Out","Protocol":256,"Priority":300}]`, string(rules)); diff != "" {
		t.Error(diff)
	}
	if e, err = h.Add(t.Context(), nat, owner); err != nil || e.Name != "nat-ep-"+pause || e.Address.String() != "172.30.16.2/20" {
		t.Errorf("%+v %v", e, err)
	}
	for _, c := range []Config{task, nat} {
		if _, err := h.Add(t.Context(), c, app); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.Join([]string{
		"adapter Ethernet 2 up=true gateway=true", "adapter Ethernet 4 up=true gateway=false",
		"adapter vEthernet (Ethernet 4) up=false gateway=false", "adapter vEthernet (nat) up=true gateway=false",
		"attached nat-ep-" + pause + " " + pause, "attached nat-ep-" + pause + " app",
		"attached " + taskNetwork + "-ep-" + pause + " " + pause, "attached " + taskNetwork + "-ep-" + pause + " app",
		"endpoint nat-ep-" + pause, "endpoint " + taskNetwork + "-ep-" + pause, "network nat", "network " + taskNetwork,
	}, "\n")
	if diff := cmp.Diff(want, w.state()); diff != "" {
		t.Error(diff)
	}
	for _, c := range []Config{task, nat} { // again
		for _, to := range []Target{owner, app} {
			if _, err := h.Add(t.Context(), c, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(want, w.state()); diff != "" {
		t.Error(diff)
	}
	for _, c := range []Config{nat, task} {
		if err := h.Del(t.Context(), c, app); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(w.state(), "attached "+taskNetwork+"-ep-"+pause+" "+pause) || strings.Contains(w.state(), " app") {
		t.Errorf("a container that shares the network is taken out:\n%s", w.state())
	}
	for range 2 {
		for _, c := range []Config{nat, task} {
			if err := h.Del(t.Context(), c, owner); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(before, w.state()); diff != "" {
			t.Error(diff)
		}
	}
}

// TestNothingIsLeft: calls fail, take effect without saying so, processes die, and HNS
// starts anew, at any place of any sequence. A repeated ADD then makes the task whole, and a repeated DEL
// leaves the host as it was.
func TestNothingIsLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWindows()
		w.containers["x"] = true
		before := w.state()
		h, configs := w.host(), []Config{config(t, taskConf), config(t, natConf)}
		owner, app := target(t, pause, "none"), target(t, "app", "container:"+pause)
		if rapid.Bool().Draw(t, "namespace") {
			owner = target(t, pause, "6f0b5d0c-4f6e-4c52-9d0e-0f4f6d7a1c11")
		}
		for range rapid.IntRange(0, 6).Draw(t, "steps") {
			if rapid.IntRange(0, 4).Draw(t, "HNS starts anew") == 0 {
				w.restart(rapid.Bool().Draw(t, "without the networks"))
			}
			w.again()
			w.failAt = rapid.IntRange(0, 12).Draw(t, "failing call")
			w.dead, w.late = rapid.Bool().Draw(t, "process dies"), rapid.Bool().Draw(t, "after the work")
			c, to := rapid.SampledFrom(configs).Draw(t, "network"), rapid.SampledFrom([]Target{owner, owner, app}).Draw(t, "container")
			if rapid.Bool().Draw(t, "add") {
				_, err := h.Add(t.Context(), c, to)
				if err == nil && !strings.Contains(w.state(), "attached "+c.endpoint(to)+" "+to.where.Container+to.where.Namespace) {
					t.Fatalf("added, but:\n%s", w.state())
				}
			} else {
				networks, endpoints := len(w.networks), len(w.endpoints)
				_ = h.Del(t.Context(), c, to)
				if to.shared && (len(w.networks) != networks || len(w.endpoints) != endpoints) {
					t.Fatalf("taken from the task along with one of its containers, left:\n%s", w.state())
				}
			}
		}
		w.again()
		if rapid.Bool().Draw(t, "set up first") {
			for _, c := range configs {
				var err error
				for range 2 { // a network whose adapter does not fit is made anew
					if _, err = h.Add(t.Context(), c, owner); err == nil {
						break
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if got := w.state(); strings.Count(got, "network ") != 2 || strings.Count(got, "endpoint ") != 2 ||
				strings.Contains(got, "vEthernet (Ethernet 4) up=true") {
				t.Fatalf("set up:\n%s", got)
			}
		}
		if rapid.Bool().Draw(t, "pause container is gone") {
			w.end(pause)
		}
		for _, c := range []Config{configs[1], configs[0]} {
			if err := h.Del(t.Context(), c, owner); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(before, w.state()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestSweep: what a host's restart has left goes, at the latest with the second try; what
// belongs to others and to tasks that are there stays.
func TestSweep(t *testing.T) {
	const other = "06:1f:2e:3d:4c:5c"
	otherTask := strings.NewReplacer(eniMAC, other, "10.30.1.25", "10.30.1.26").Replace(taskConf)
	rapid.Check(t, func(t *rapid.T) {
		w := newWindows()
		w.adapters = append(w.adapters, Adapter{Index: 9, Name: "Ethernet 5", MAC: []byte{6, 0x1f, 0x2e, 0x3d, 0x4c, 0x5c}, Up: true})
		w.containers["gone"] = true
		foreign := Network{ID: "x", Name: "taskbreakfast", Type: Transparent, Adapter: "x"}
		w.networks["x"] = foreign
		w.endpoints["y"] = Endpoint{ID: "y", Name: "web-ep-gone", Network: "nat"}
		w.endpoints["z"] = Endpoint{ID: "z", Name: "nat-endpoint", Network: "nat"}
		h, nat := w.host(), config(t, natConf)
		add := func(conf, container string) {
			for _, c := range []Config{config(t, conf), nat} {
				if _, err := h.Add(t.Context(), c, target(t, container, "none")); err != nil {
					t.Fatal(err)
				}
			}
		}
		keep := rapid.Bool().Draw(t, "a task is there")
		if keep {
			add(otherTask, pause)
		}
		want := w.state()
		add(taskConf, "gone")
		w.end("gone")
		w.again()
		w.failAt, w.dead, w.late = rapid.IntRange(0, 8).Draw(t, "failing call"), rapid.Bool().Draw(t, "process dies"), rapid.Bool().Draw(t, "after the work")
		sweep := func() error {
			var failed []error
			for _, text := range []string{taskConf, natConf} {
				c, err := ParseNetwork([]byte(text))
				failed = append(failed, err, h.Sweep(t.Context(), c, []string{pause}))
			}
			return errors.Join(failed...)
		}
		if err := sweep(); err != nil {
			w.again()
			if err := sweep(); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, w.state()); diff != "" {
			t.Fatal(diff)
		}
	})
	w := newWindows()
	w.major = 6
	if err := w.host().Status(t.Context(), config(t, natConf)); err == nil || !strings.Contains(err.Error(), "HNS is older") {
		t.Error(err)
	}
	w = newWindows()
	if err := w.host().Status(t.Context(), config(t, natConf)); err != nil {
		t.Error(err)
	}
	delete(w.networks, "nat")
	if err := w.host().Status(t.Context(), config(t, natConf)); err == nil || !strings.Contains(err.Error(), "failed to find existing network nat") {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		conf, namespace string
		prepare         func(*fakeWindows)
		want            string
		again           bool
	}{
		"old HNS":         {taskConf, "none", func(w *fakeWindows) { w.major, w.minor = 7, 1 }, "HNS is older than the minimum supported version for networks of tasks: it is 7.1, want 7.2 (Windows Server 1803)", false},
		"no HCN":          {natConf, "6f0b5d0c-4f6e-4c52-9d0e-0f4f6d7a1c11", func(w *fakeWindows) { w.major, w.minor = 9, 1 }, "HNS is older than the minimum supported version for namespaces of HCN: it is 9.1, want 9.2 (Windows Server 2019)", false},
		"no interface":    {taskConf, "none", func(w *fakeWindows) { w.adapters = w.adapters[:1] }, "no network adapter has the MAC address 06:1f:2e:3d:4c:5b", true},
		"the host's own":  {taskConf, "none", func(w *fakeWindows) { w.adapters[0].Up = false }, `adapter "Ethernet 4" with the MAC address 06:1f:2e:3d:4c:5b is the only one with a default gateway`, false},
		"no nat":          {natConf, "none", func(w *fakeWindows) { delete(w.networks, "nat") }, "failed to find existing network nat", true},
		"no owner":        {taskConf, "container:other", func(*fakeWindows) {}, "failed to find endpoint " + taskNetwork + "-ep-other", false},
		"no host side":    {taskConf, "none", func(w *fakeWindows) { w.hidden = true }, `the host has no adapter "vEthernet (Ethernet 4)"`, true},
		"container ended": {taskConf, "none", func(w *fakeWindows) { w.end(pause) }, "attach endpoint " + taskNetwork + "-ep-" + pause + ": the container is gone", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWindows()
			c.prepare(w)
			before := w.state()
			_, err := w.host().Add(t.Context(), config(t, c.conf), target(t, pause, c.namespace))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v; want %q", err, c.want)
			}
			var e *types.Error
			if again := errors.As(err, &e) && e.Code == types.ErrTryAgainLater; again != c.again {
				t.Errorf("to be tried again: %v, want %v", again, c.again)
			}
			if name == "container ended" {
				// The network stays for another attempt, as after any failure.
				if len(w.endpoints) != 0 {
					t.Errorf("an endpoint of no container: %v", w.endpoints)
				}
				if err := w.host().Del(t.Context(), config(t, c.conf), target(t, pause, c.namespace)); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(before, w.state()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRenamed: Windows renames adapters; the address tells which one it is.
func TestRenamed(t *testing.T) {
	w := newWindows()
	w.adapters[1].Name = "Ethernet 9"
	if _, err := w.host().Add(t.Context(), config(t, taskConf), target(t, pause, "none")); err != nil {
		t.Fatal(err)
	}
	for _, n := range w.networks {
		if n.Name == taskNetwork && n.Adapter != "Ethernet 9" {
			t.Errorf("%+v", n)
		}
	}
	// Under a task that runs: its host side speaks again, under another name.
	side := slices.IndexFunc(w.adapters, func(a Adapter) bool { return a.Name == "vEthernet (Ethernet 9)" })
	w.adapters[1].Name, w.adapters[side].Name, w.adapters[side].Up = "Ethernet 11", "vEthernet (Ethernet 11)", true
	if _, err := w.host().Add(t.Context(), config(t, taskConf), target(t, pause, "none")); err != nil {
		t.Fatal(err)
	}
	if w.adapters[side].Up || len(w.networks) != 2 {
		t.Errorf("%+v %+v", w.adapters[side], w.networks)
	}
	if err := w.host().Del(t.Context(), config(t, taskConf), target(t, pause, "none")); err != nil || len(w.networks) != 1 || len(w.endpoints) != 0 {
		t.Errorf("%v: %+v %+v", err, w.networks, w.endpoints)
	}
}

func TestParseRefuses(t *testing.T) {
	change := func(from, to string) string { return strings.Replace(taskConf, from, to, 1) }
	for conf, want := range map[string]string{
		`[`:                                     "decode the network configuration",
		change(`"name":"task"`, `"name":"a b"`): `name: "a b"; want the network's name`,
		change("06:1f:2e:3d:4c:5b", "06:1f"):    `eniMACAddress: "06:1f"; want a MAC address`,
		change("10.30.1.25/24", "10.30.1.25"):   `eniIPAddresses[0]: "10.30.1.25"`,
		change("10.30.1.25/24", "fd00::1/64"):   `eniIPAddresses: ["fd00::1/64"]; want an IPv4 address`,
		change(`["10.30.1.25/24"]`, "[]"):       `eniIPAddresses: []; want an IPv4 address`,
		change("10.30.1.1", "10.30.2.1"):        `gatewayIPAddresses[0]: "10.30.2.1"; want an address in 10.30.1.0/24`,
		change("10.30.1.1", "& calc.exe"):       `gatewayIPAddresses[0]: "\u0026 calc.exe"`,
		change("10.30.0.2", "dns"):              `dns.nameservers[0]: "dns"`,
		change("corp.example.com", "a,b"):       `dns.search[0]: "a,b"; want a domain`,
	} {
		if _, err := Parse([]byte(conf)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", conf, err, want)
		}
	}
	for _, c := range [][3]string{{"", "none", "CNI_CONTAINERID"}, {"none", "none", "CNI_CONTAINERID"}, {"a", "container:", "CNI_NETNS"}, {"a", "/proc/1/ns/net", "CNI_NETNS"}} {
		if _, err := ParseTarget(c[0], c[1]); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%q: %v", c, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(taskConf), pause, "none")
	f.Add([]byte(natConf), "app", "container:"+pause)
	f.Fuzz(func(t *testing.T, conf []byte, container, namespace string) {
		c, err := Parse(conf)
		if err != nil {
			return
		}
		if !c.existing && (len(c.mac) != 6 || !c.address.IsValid()) {
			t.Fatalf("%s gave %+v", conf, c)
		}
		if to, err := ParseTarget(container, namespace); err == nil && (to.owner == "" || (to.where.Container == "") == (to.where.Namespace == "")) {
			t.Fatalf("%q %q gave %+v", container, namespace, to)
		}
	})
}
