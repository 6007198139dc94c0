package taskpath

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var agent = netip.MustParseAddrPort("127.0.0.1:51679")

func TestPlan(t *testing.T) {
	other := netip.MustParseAddrPort("127.0.0.1:1")
	for name, c := range map[string]struct {
		s    State
		want []Step
	}{
		"nothing":             {State{Adapter: 12}, []Step{AddAddress, AwaitAddress, AddProxy, OpenDoor}},
		"all":                 {State{Adapter: 12, Address: Preferred, Proxy: agent, Door: true}, nil},
		"set up by a script":  {State{Address: Preferred, Proxy: agent, Door: true}, nil},
		"after a reboot":      {State{Adapter: 12, Proxy: agent, Door: true}, []Step{AddAddress, AwaitAddress, RemoveProxy, AddProxy}},
		"address not usable":  {State{Adapter: 12, Address: Tentative, Proxy: agent, Door: true}, []Step{AwaitAddress, RemoveProxy, AddProxy}},
		"proxy to elsewhere":  {State{Adapter: 12, Address: Preferred, Proxy: other, Door: true}, []Step{RemoveProxy, AddProxy}},
		"firewall":            {State{Adapter: 12, Address: Preferred, Proxy: agent}, []Step{OpenDoor}},
		"address, no adapter": {State{Address: Tentative, Proxy: agent, Door: true}, []Step{AwaitAddress, RemoveProxy, AddProxy}},
	} {
		got, err := Plan(c.s, agent)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	if _, err := Plan(State{}, agent); !errors.Is(err, ErrNoAdapter) {
		t.Errorf("no adapter: %v", err)
	}
	if err := (&Keeper{Host: &fakeHost{}, Agent: agent}).Can(t.Context()); !errors.Is(err, ErrNoAdapter) {
		t.Errorf("no adapter: %v", err)
	}
}

func TestCommands(t *testing.T) {
	for step, want := range map[Step]string{
		AddAddress:  "interface ipv4 add address name=12 address=169.254.170.2 mask=255.255.255.255 store=active skipassource=true",
		RemoveProxy: "interface portproxy delete v4tov4 listenaddress=169.254.170.2 listenport=80",
		AddProxy:    "interface portproxy add v4tov4 listenaddress=169.254.170.2 listenport=80 connectaddress=127.0.0.1 connectport=51679",
		OpenDoor:    "advfirewall firewall add rule name=Allow Inbound Port 51679 dir=in action=allow protocol=TCP localport=51679",
	} {
		if got := strings.Join(command(step, 12, agent), " "); got != want {
			t.Errorf("%s: %s", step, got)
		}
	}
}

func TestNamesOfAdapters(t *testing.T) {
	for name, want := range map[string]bool{
		"vEthernet (nat)": true, "vEthernet (NAT)": true, "vEthernet (nat) 2": true, "vEthernet (nat) 13": true,
		"": false, "nat": false, "vEthernet (nat)2": false, "vEthernet (nat) ": false, "vEthernet (nat) x": false, "vEthernet (nat-ep-1)": false, "vEthernet (nat) 2x": false,
		"vEthernet (task)": false,
	} {
		if isNAT(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestRegistryForms(t *testing.T) {
	rule := "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=51679|Name=Allow Inbound Port 51679|"
	if !opens(rule, agent) {
		t.Error("the rule is not seen")
	}
	for _, change := range [][2]string{{"Allow|", "Block|"}, {"TRUE", "FALSE"}, {"Dir=In", "Dir=Out"}, {"=6", "=17"}, {"51679|N", "516790|N"}} {
		if opens(strings.Replace(rule, change[0], change[1], 1), agent) {
			t.Errorf("%s counts", change[1])
		}
	}
	for text, want := range map[string]netip.AddrPort{"127.0.0.1/51679": agent, "": {}, "localhost/80": {}, "127.0.0.1": {}} {
		if got := proxyTarget(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// fakeHost is Windows: an address becomes usable after a while, and a proxy that is older
// than its address is deaf.
type fakeHost struct {
	mu      sync.Mutex // of the rest
	s       State
	usable  time.Time // of the address
	deaf    bool
	done    []Step
	failing map[Step]error
}

func (h *fakeHost) State(context.Context) (State, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.s.Address == Tentative && !time.Now().Before(h.usable) {
		h.s.Address = Preferred
	}
	return h.s, nil
}

func (h *fakeHost) Do(_ context.Context, step Step, adapter int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.failing[step]; err != nil {
		return err
	}
	h.done = append(h.done, step)
	switch step {
	case AddAddress:
		if adapter != h.s.Adapter {
			return errors.New("no such adapter")
		}
		h.s.Address, h.usable, h.deaf = Tentative, time.Now().Add(2500*time.Millisecond), h.s.Proxy.IsValid()
	case RemoveProxy:
		h.s.Proxy = netip.AddrPort{}
	case AddProxy:
		if h.s.Proxy.IsValid() {
			return errors.New("there is one")
		}
		h.s.Proxy, h.deaf = agent, h.s.Address != Preferred
	case OpenDoor:
		h.s.Door = true
	}
	return nil
}

// TestEnsure: whatever there is, afterwards tasks reach the agent, and there is nothing
// more to do.
func TestEnsure(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := State{
			Adapter: 12, Address: rapid.SampledFrom([]Presence{Absent, Preferred}).Draw(r, "address"), Door: rapid.Bool().Draw(r, "door"),
			Proxy: rapid.SampledFrom([]netip.AddrPort{{}, agent, netip.MustParseAddrPort("127.0.0.1:1")}).Draw(r, "proxy"),
		}
		synctest.Test(t, func(t *testing.T) {
			h := &fakeHost{s: s}
			k := &Keeper{Host: h, Agent: agent, Log: zap.NewNop()}
			if err := k.Can(t.Context()); err != nil || len(h.done) > 0 {
				t.Fatalf("asked whether it can: %v, %v done", err, h.done)
			}
			for range 2 {
				if err := k.Ensure(t.Context()); err != nil {
					t.Fatal(err)
				}
				if h.s != (State{Adapter: 12, Address: Preferred, Proxy: agent, Door: true}) || h.deaf {
					t.Fatalf("%+v became %+v, deaf: %v", s, h.s, h.deaf)
				}
				if missing, err := k.Missing(t.Context()); err != nil || len(missing) > 0 {
					t.Fatalf("%v %v", missing, err)
				}
				h.done = nil
			}
		})
	})
}

func TestEnsureFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := zaptest.NewLogger(t)
		h := &fakeHost{s: State{Adapter: 12}, failing: map[Step]error{AddProxy: errors.New("the service is not started")}}
		if err := (&Keeper{Host: h, Agent: agent, Log: log}).Ensure(t.Context()); err == nil || err.Error() != "add the proxy of 169.254.170.2:80: the service is not started" {
			t.Error(err)
		}
		h = &fakeHost{s: State{Adapter: 12, Address: Tentative}, usable: time.Now().Add(time.Hour)}
		if err := (&Keeper{Host: h, Agent: agent, Log: log}).Ensure(t.Context()); err == nil || err.Error() != "wait for the address 169.254.170.2: not usable within 10s" {
			t.Error(err)
		}
	})
}

// TestRun: Docker makes its adapter anew, and the path comes back; a failure that lasts is
// told once.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		h := &fakeHost{s: State{Adapter: 12}}
		set := func(adapter int) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.s.Address, h.s.Adapter = Absent, adapter
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		var made atomic.Int32
		go func() {
			done <- (&Keeper{Host: h, Agent: agent, Log: zap.New(core), Made: func() { made.Add(1) }}).Run(ctx)
		}()
		time.Sleep(period)
		synctest.Wait()
		if h.s.Address != Preferred || h.deaf {
			t.Errorf("%+v", h.s)
		}
		if made.Load() == 0 {
			t.Error("the path is there, and nobody hears of it")
		}
		set(0) // Docker is restarted
		made.Store(0)
		time.Sleep(3 * period)
		synctest.Wait()
		if n := logs.Len(); n != 1 || !strings.Contains(logs.All()[0].ContextMap()["error"].(string), "vEthernet (nat)") {
			t.Errorf("told %d times", n)
		}
		if n := made.Load(); n != 0 {
			t.Errorf("heard %d times of a path that is not there", n)
		}
		set(31)
		time.Sleep(2 * period)
		synctest.Wait()
		if h.s.Address != Preferred || h.s.Proxy != agent || h.deaf {
			t.Errorf("%+v", h.s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
