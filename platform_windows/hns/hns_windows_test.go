package hns

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/windows"

	"ecsagent/cni/vswitch"
)

// script has the stand-in for vmcompute.dll answer with these lines, and returns what it
// was called for.
func script(t *testing.T, answers ...string) (calls func() []string) {
	t.Helper()
	restart := windows.NewLazySystemDLL("vmcompute.dll").NewProc("StandInRestart")
	if err := restart.Find(); err != nil {
		t.Skip("needs the stand-in for vmcompute.dll, which make test-windows has:", err)
	}
	_, _, _ = restart.Call()
	dir := t.TempDir()
	t.Setenv("HNS_STANDIN", dir)
	if err := os.WriteFile(filepath.Join(dir, "answers"), []byte(strings.Join(answers, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() []string {
		text, err := os.ReadFile(filepath.Join(dir, "calls"))
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			lines = append(lines, strings.TrimSpace(line))
		}
		return lines
	}
}

const (
	mac     = "06:1f:2e:3d:4c:5b"
	name    = "taskbr061f2e3d4c5b"
	pause   = "9c41d27e55b0"
	net1    = `{"ID":"A1","Name":"taskbr061f2e3d4c5b","Type":"Transparent","NetworkAdapterName":"Ethernet 4","Subnets":[{"AddressPrefix":"10.30.1.0/24","GatewayAddress":"10.30.1.1"}],"State":1}`
	ep1     = `{"ID":"E1","Name":"taskbr061f2e3d4c5b-ep-9c41d27e55b0","VirtualNetwork":"A1","VirtualNetworkName":"taskbr061f2e3d4c5b","MacAddress":"06-1F-2E-3D-4C-5B","IPAddress":"10.30.1.25","PrefixLength":24,"GatewayAddress":"10.30.1.1","DNSServerList":"10.30.0.2,10.30.0.3","DNSSuffix":"a.example"}`
	failure = `{"Success":false,"Error":"Das Element wurde nicht gefunden. "}`
)

func ok(output string) string { return `{"Success":true,"Output":` + output + `}` }

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestVersion(t *testing.T) {
	calls := script(t, ok(`{"Major":9,"Minor":5}`))
	major, minor, err := Service{}.Version(t.Context())
	if err != nil || major != 9 || minor != 5 {
		t.Errorf("%d.%d %v", major, minor, err)
	}
	same(t, calls(), "HNS GET /globals/version")
}

// TestNetwork: what leaves the process is what the specification has.
func TestNetwork(t *testing.T) {
	calls := script(t, ok("["+net1+"]"), ok("["+net1+"]"), ok(net1), ok(net1), failure, ok("[]"), failure, ok("["+net1+"]"))
	want := vswitch.Network{
		ID: "A1", Name: name, Type: "Transparent", Adapter: "Ethernet 4",
		Subnet: netip.MustParsePrefix("10.30.1.0/24"), Gateway: netip.MustParseAddr("10.30.1.1"),
	}
	var s Service
	if got, err := s.NetworkByName(t.Context(), name); err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := s.NetworkByName(t.Context(), "nat"); !errors.Is(err, vswitch.ErrNotFound) {
		t.Errorf("a network that is not there: %v", err)
	}
	ask := want
	ask.ID = ""
	if got, err := s.CreateNetwork(t.Context(), ask); err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
	if err := s.DeleteNetwork(t.Context(), "A1"); err != nil {
		t.Error(err)
	}
	if err := s.DeleteNetwork(t.Context(), "a1"); !errors.Is(err, vswitch.ErrNotFound) {
		t.Errorf("a network that is gone: %v", err)
	}
	if err := s.DeleteNetwork(t.Context(), "a1"); err == nil || errors.Is(err, vswitch.ErrNotFound) || !strings.Contains(err.Error(), "nicht gefunden") {
		t.Errorf("a network that stays: %v", err)
	}
	same(t, calls(), "HNS GET /networks/", "HNS GET /networks/",
		`HNS POST /networks/ {"Name":"taskbr061f2e3d4c5b","Type":"Transparent","NetworkAdapterName":"Ethernet 4","Subnets":[{"AddressPrefix":"10.30.1.0/24","GatewayAddress":"10.30.1.1"}]}`,
		"HNS DELETE /networks/A1", "HNS DELETE /networks/a1", "HNS GET /networks/", "HNS DELETE /networks/a1", "HNS GET /networks/")
}

func TestEndpoint(t *testing.T) {
	calls := script(t, ok("["+ep1+"]"), ok(ep1), ok("["+ep1+"]"), ok("["+ep1+"]"), ok(ep1), failure, ok("[]"))
	hardware, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	want := vswitch.Endpoint{
		ID: "E1", Name: name + "-ep-" + pause, Network: name, MAC: hardware, Address: netip.MustParsePrefix("10.30.1.25/24"),
		Gateway: netip.MustParseAddr("10.30.1.1"), DNSServers: []string{"10.30.0.2", "10.30.0.3"}, DNSSearch: []string{"a.example"},
	}
	compare := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	prefixes := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	var s Service
	got, err := s.EndpointByName(t.Context(), want.Name)
	if diff := cmp.Diff(want, got, compare, prefixes); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	ask := want
	ask.ID, ask.Gateway = "", netip.Addr{}
	ask.Policies = []vswitch.Policy{{Type: "ACL", Action: "Allow", Direction: "In", Protocol: 256, Priority: 300}}
	if got, err = s.CreateEndpoint(t.Context(), ask); err != nil || got.ID != "E1" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := s.EndpointByName(t.Context(), "nat-ep-x"); !errors.Is(err, vswitch.ErrNotFound) {
		t.Errorf("an endpoint that is not there: %v", err)
	}
	if got, err = s.EndpointByName(t.Context(), strings.ToUpper(want.Name)); !errors.Is(err, vswitch.ErrNotFound) {
		t.Errorf("another name: %+v %v", got, err)
	}
	if err := s.DeleteEndpoint(t.Context(), "E1"); err != nil {
		t.Error(err)
	}
	if err := s.DeleteEndpoint(t.Context(), "E1"); !errors.Is(err, vswitch.ErrNotFound) {
		t.Errorf("an endpoint that is gone: %v", err)
	}
	seen := calls()
	same(t, seen[1:2], `HNS POST /endpoints/ {"Name":"taskbr061f2e3d4c5b-ep-9c41d27e55b0","VirtualNetworkName":"taskbr061f2e3d4c5b","Policies":[{"Type":"ACL","Action":"Allow","Direction":"In","Protocol":256,"Priority":300}],`+
		`"MacAddress":"06:1f:2e:3d:4c:5b","IPAddress":"10.30.1.25","DNSSuffix":"a.example","DNSServerList":"10.30.0.2,10.30.0.3","PrefixLength":24}`)
	same(t, seen[4:], "HNS DELETE /endpoints/E1", "HNS DELETE /endpoints/E1", "HNS GET /endpoints/")
}

// TestAttach: an endpoint goes into a container of Docker once, and comes out of one that
// may have ended.
func TestAttach(t *testing.T) {
	shared := `{"ID":"E1","Name":"e","SharedContainers":["` + strings.ToUpper(pause) + `"]}`
	const noSystem = "C037010E" // HCS_E_SYSTEM_NOT_FOUND
	calls := script(t,
		ok(ep1), ok(ep1), "0", "0", // attached
		ok(shared), ok(shared), // it is already
		ok(ep1), ok(ep1), noSystem, // no container
		ok(shared), ok(shared), "0", "0", // detached
		ok(ep1), ok(ep1), // it is already
		ok(shared), ok(shared), noSystem, // no container
		failure, ok("[]"), // no endpoint
	)
	var s Service
	place := vswitch.Place{Container: pause}
	for i, want := range []error{nil, nil, vswitch.ErrGone} {
		if err := s.Attach(t.Context(), place, "E1"); !errors.Is(err, want) {
			t.Errorf("attach %d: %v, want %v", i, err, want)
		}
	}
	for i := range 4 {
		if err := s.Detach(t.Context(), place, "E1"); err != nil {
			t.Errorf("detach %d: %v", i, err)
		}
	}
	same(t, calls(),
		"HNS GET /endpoints/E1", "HNS GET /endpoints/E1", "HCS open "+pause, `HCS modify {"ResourceType":"Network","Settings":"E1","RequestType":"Add"}`,
		"HNS GET /endpoints/E1", "HNS GET /endpoints/E1",
		"HNS GET /endpoints/E1", "HNS GET /endpoints/E1", "HCS open "+pause,
		"HNS GET /endpoints/E1", "HNS GET /endpoints/E1", "HCS open "+pause, `HCS modify {"ResourceType":"Network","Settings":"E1","RequestType":"Remove"}`,
		"HNS GET /endpoints/E1", "HNS GET /endpoints/E1",
		"HNS GET /endpoints/E1", "HNS GET /endpoints/E1", "HCS open "+pause,
		"HNS GET /endpoints/E1", "HNS GET /endpoints/")
}
