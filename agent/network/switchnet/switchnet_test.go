package switchnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"pgregory.net/rapid"

	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func spec(change func(*task.ENI)) *task.Spec {
	e := task.ENI{
		EC2ID: "eni-0abc12345", MAC: "06:1F:2e:3d:4c:5b", IPv4: []task.Address{{Address: "10.30.1.99"}, {Address: "10.30.1.25", Primary: true}},
		SubnetGatewayIPv4: "10.30.1.1/24",
	}
	if change != nil {
		change(&e)
	}
	return &task.Spec{NetworkMode: "awsvpc", ENIs: []task.ENI{e}}
}

func (h *fakeHost) runner(t *testing.T, s Settings) *Runner {
	return New(Options{Plugins: `C:\cni`, Settings: s, Exec: h, Containers: h, Servers: func() []string { return []string{"10.30.0.2"} }, Log: zaptest.NewLogger(t)})
}

// TestTask: what the plugin and the pause container are told is what docs/spec/05 sections
// 5.4 and 5.7 have; containers join, and all of it goes.
func TestTask(t *testing.T) {
	h := newHost()
	extra := []netip.Prefix{netip.MustParsePrefix("10.0.15.7/24"), netip.MustParsePrefix("fd00::/8")}
	r := h.runner(t, Settings{BlockMetadata: true, LocalRoutes: extra})
	local, err := r.SetUp(t.Context(), spec(nil), pause)
	if err != nil || local.String() != "172.30.16.9" {
		t.Fatalf("%v %v", local, err)
	}
	n := "interface=vEthernet (" + bridgeEnd + ") store=active"
	if diff := cmp.Diff([]string{
		"ADD eth0 " + pause + " none", "ADD nat " + pause + " none",
		"netsh interface ipv4 delete route prefix=0.0.0.0/0 " + n, "netsh interface ipv4 delete route prefix=172.30.16.0/20 " + n,
		"netsh interface ipv4 add route prefix=169.254.170.2/32 " + n, "netsh interface ipv4 add route prefix=10.0.15.0/24 " + n,
		"netsh interface ipv4 show route",
	}, h.calls); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		`{"cniVersion":"0.3.0","name":"task","type":"vpc-eni","dns":{"nameservers":["10.30.0.2"]},"eniName":"","eniMACAddress":"06:1f:2e:3d:4c:5b",` +
			`"eniIPAddresses":["10.30.1.25/24"],"gatewayIPAddresses":["10.30.1.1"],"useExistingNetwork":false,"blockInstanceMetadata":true}`,
		`{"cniVersion":"0.3.0","name":"nat","type":"vpc-eni","dns":{},"eniName":"","eniMACAddress":"","eniIPAddresses":null,"gatewayIPAddresses":null,` +
			`"useExistingNetwork":true,"blockInstanceMetadata":true}`,
	}, h.configs); diff != "" {
		t.Error(diff)
	}
	want := strings.Join([]string{
		"0.0.0.0/0 10.30.1.1", "10.0.15.0/24 vEthernet (" + bridgeEnd + ")", "10.30.1.0/24 vEthernet (" + taskEnd + ")", "169.254.170.2/32 vEthernet (" + bridgeEnd + ")",
	}, "\n")
	if diff := cmp.Diff(want, h.table()); diff != "" {
		t.Error(diff)
	}
	// Again, as after a start of the agent.
	if again, err := r.SetUp(t.Context(), spec(nil), pause); err != nil || again != local {
		t.Errorf("%v %v", again, err)
	}
	if diff := cmp.Diff(want, h.table()); diff != "" {
		t.Error(diff)
	}
	for range 2 {
		if err := r.Join(t.Context(), spec(nil), pause, "app"); err != nil {
			t.Error(err)
		}
	}
	for _, e := range []string{taskEnd, bridgeEnd} {
		if in := h.endpoints[e]; !slices.Equal(in, []string{pause, "app"}) {
			t.Errorf("%s is in %q", e, in)
		}
	}
	h.calls = nil
	for range 2 {
		if err := r.TearDown(t.Context(), spec(nil), pause); err != nil {
			t.Error(err)
		}
	}
	del := []string{"DEL nat " + pause + " none", "DEL eth0 " + pause + " none"}
	if diff := cmp.Diff(append(del, del...), h.calls); diff != "" || len(h.endpoints) != 0 {
		t.Errorf("%s left %v", diff, h.endpoints)
	}
}

// Where instance metadata is not blocked, it is reached by the task's own interface. The
// search list is the interface's.
func TestMetadataRoute(t *testing.T) {
	h := newHost()
	if _, err := h.runner(t, Settings{}).SetUp(t.Context(), spec(func(e *task.ENI) { e.DomainNames = []string{"corp.example.com"} }), pause); err != nil {
		t.Fatal(err)
	}
	if name, err := AdapterName("06:1F:2e:3d:4c:5b", pause); err != nil || name != "vEthernet ("+taskEnd+")" {
		t.Errorf("%s %v", name, err)
	}
	if name, err := AdapterName("06:1f", pause); err == nil {
		t.Errorf("no address: %s", name)
	}
	if !strings.Contains(h.table(), "169.254.169.254/32 vEthernet ("+taskEnd+")") || !strings.Contains(h.configs[0], `"search":["corp.example.com"]`) {
		t.Errorf("%s\n%s", h.table(), h.configs[0])
	}
}

// TestRepeats: the pair of calls is repeated five times within its limit, and not when the
// plugin has refused for good.
func TestRepeats(t *testing.T) {
	busy := errors.New("HNS is busy")
	for name, c := range map[string]struct {
		fail    map[int]error
		all     error
		limit   time.Duration
		calls   int
		min     time.Duration
		succeed bool
		want    string
	}{
		"passes":  {fail: map[int]error{1: busy, 3: busy}, calls: 5, min: 12 * time.Second, succeed: true},
		"stays":   {all: busy, calls: 5, min: 60 * time.Second, want: "add network failed: HNS is busy"},
		"refused": {all: types.NewError(types.ErrPluginNotAvailable, "HNS is older", ""), calls: 1, want: "HNS is older"},
		"ended":   {all: busy, limit: 10 * time.Second, calls: 2, min: 10 * time.Second, want: "HNS is busy"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost()
				h.fail, h.failAll = c.fail, c.all
				ctx := t.Context()
				if c.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.limit)
					defer cancel()
				}
				begin := time.Now()
				_, err := h.runner(t, Settings{}).SetUp(ctx, spec(nil), pause)
				if (err == nil) != c.succeed || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v; want %q", err, c.want)
				}
				n := 0
				for _, call := range h.calls {
					if strings.HasPrefix(call, "ADD") {
						n++
					}
				}
				if took := time.Since(begin); n != c.calls || took < c.min || took > c.min+c.min/5+time.Second {
					t.Errorf("%d calls within %s", n, took)
				}
			})
		})
	}
}

// TestNothingIsLeft: whatever fails, set-up again makes the task whole and tear-down
// leaves nothing.
func TestNothingIsLeft(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHost()
			for range rapid.IntRange(0, 8).Draw(r, "failures") {
				h.fail[rapid.IntRange(1, 12).Draw(r, "failing call")] = errors.New("HNS is busy")
			}
			run := h.runner(t, Settings{BlockMetadata: rapid.Bool().Draw(r, "block")})
			if _, err := run.SetUp(t.Context(), spec(nil), pause); err == nil && rapid.Bool().Draw(r, "join") {
				_ = run.Join(t.Context(), spec(nil), pause, "app")
			}
			if rapid.Bool().Draw(r, "set up again") {
				h.fail = nil
				if _, err := run.SetUp(t.Context(), spec(nil), pause); err != nil || len(h.endpoints) != 2 {
					r.Fatalf("%v %v", h.endpoints, err)
				}
			}
			_ = run.TearDown(t.Context(), spec(nil), pause)
			h.fail = nil
			if err := run.TearDown(t.Context(), spec(nil), pause); err != nil || len(h.endpoints) != 0 {
				r.Fatalf("left %v: %v", h.endpoints, err)
			}
		})
	})
}

func TestFailuresNameTheCause(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*fakeHost)
		want    string
	}{
		"no plugin":  {func(h *fakeHost) { h.missing = true }, "plugin vpc-eni is missing (ECS_CNI_PLUGINS_PATH)"},
		"no program": {func(h *fakeHost) { h.exec = errors.New("executable file not found") }, "routes of the task: [\"netsh\""},
		"deaf netsh": {func(h *fakeHost) { h.deaf = true }, "still a route to 0.0.0.0/0 on vEthernet (" + bridgeEnd + ")"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost()
				c.prepare(h)
				if _, err := h.runner(t, Settings{}).SetUp(t.Context(), spec(nil), pause); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v; want %q", err, c.want)
				}
			})
		})
	}
	h := newHost()
	if err := h.runner(t, Settings{}).Join(t.Context(), spec(func(e *task.ENI) { e.MAC = "x" }), pause, "app"); err == nil || len(h.calls) != 0 {
		t.Errorf("%v %q", err, h.calls)
	}
}

func TestPlanRefuses(t *testing.T) {
	primary := net.HardwareAddr{6, 0, 0, 0, 0, 1}
	for want, change := range map[string]func(*task.ENI){
		`elastic network interface eni-0abc12345: MAC address "x"`:   func(e *task.ENI) { e.MAC = "x" },
		`is that of the container instance's own interface`:          func(e *task.ENI) { e.MAC = primary.String() },
		`it has no IPv4 address`:                                     func(e *task.ENI) { e.IPv4, e.IPv6 = nil, []task.Address{{Address: "fd00::1"}} },
		`subnetGatewayIpv4Address ""`:                                func(e *task.ENI) { e.SubnetGatewayIPv4 = "" },
		`address "& calc.exe": want an address in the subnet`:        func(e *task.ENI) { e.IPv4[1].Address = "& calc.exe" },
		`address "10.31.0.1": want an address in the subnet 10.30.1`: func(e *task.ENI) { e.IPv4[1].Address = "10.31.0.1" },
		`association protocol "vlan": want "default" on Windows`:     func(e *task.ENI) { e.AssociationProtocol = "vlan" },
	} {
		if _, err := NewPlan(spec(change), Settings{Primary: primary}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
	mesh := spec(nil)
	mesh.Proxy = &task.Proxy{}
	for _, s := range []*task.Spec{mesh, {}, {ENIs: append(spec(nil).ENIs, spec(nil).ENIs...)}} {
		if _, err := NewPlan(s, Settings{}, nil); err == nil {
			t.Errorf("%+v is taken", s)
		}
	}
}

// TestSweep: what belongs to no pause container that is there goes.
func TestSweep(t *testing.T) {
	h := newHost()
	h.endpoints = map[string][]string{taskEnd: {pause}, bridgeEnd: {pause}, "nat-ep-gone": nil, "taskbr061f2e3d4c5c-ep-gone": nil}
	r := h.runner(t, Settings{})
	if err := errors.Join(r.Status(t.Context()), r.Sweep(t.Context(), []string{pause})); err != nil || len(h.endpoints) != 2 {
		t.Errorf("%v %v", h.endpoints, err)
	}
	if err := r.Sweep(t.Context(), nil); err != nil || len(h.endpoints) != 0 {
		t.Errorf("%v %v", h.endpoints, err)
	}
	if diff := cmp.Diff([]string{
		`{"cniVersion":"1.1.0","name":"nat","type":"vpc-eni","useExistingNetwork":true}`,
		`{"cni.dev/valid-attachments":[{"containerID":"` + pause + `","ifname":"eth0"},{"containerID":"` + pause + `","ifname":"nat"}],"cniVersion":"1.1.0","name":"task","type":"vpc-eni","useExistingNetwork":false}`,
	}, h.configs[:2]); diff != "" {
		t.Error(diff)
	}
	h.failAll, h.calls = errors.New("HNS is busy"), nil
	if err := r.Answers(t.Context()); err == nil || !strings.Contains(err.Error(), "HNS is busy") || len(h.calls) != 1 {
		t.Errorf("%v after %q", err, h.calls)
	}
	if !strings.Contains(h.configs[3], `"cni.dev/valid-attachments":[]`) {
		t.Errorf("without any: %s", h.configs[3])
	}
}

func FuzzRoutes(f *testing.F) {
	f.Add("No       Manual    256  0.0.0.0/0                   4  172.30.16.1\r\nNo       System    256  224.0.0.0/4                 9  vEthernet (nat-ep-1)\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range routesIn(text) {
			if !r.prefix.IsValid() || r.via == "" {
				t.Errorf("%q gave %+v", text, r)
			}
		}
	})
}
