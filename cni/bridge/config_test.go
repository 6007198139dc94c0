package bridge

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

func parseCIDR(s string) (net.IP, *net.IPNet, error) { return net.ParseCIDR(s) }

func resultJSON(t *testing.T, r *current.Result) string {
	t.Helper()
	as, err := r.GetAsVersion("0.3.0")
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(as)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRefuses(t *testing.T) {
	for conf, want := range map[string]string{
		`{}`: "bridge: \"\"", `{"bridge":"a/b"}`: "bridge: \"a/b\"", `{"bridge":"sixteen-bytes-ab"}`: "15 bytes",
		`{"bridge":"b","mtu":-1}`: "mtu: -1", `{"bridge":"b","mtu":10}`: "mtu: 10", `{"bridge":1}`: "bridge", `[`: "decode",
	} {
		if _, err := parse([]byte(conf)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want %q", conf, err, want)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	ip := func(cidr, gateway string) *current.IPConfig {
		a, n, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		return &current.IPConfig{Address: net.IPNet{IP: a, Mask: n.Mask}, Gateway: net.ParseIP(gateway)}
	}
	for name, c := range map[string]struct {
		ips    []*current.IPConfig
		routes []*types.Route
		want   string
	}{
		"none":           {nil, nil, "gave 0 addresses"},
		"three":          {[]*current.IPConfig{ip("10.0.0.2/24", "10.0.0.1"), ip("10.0.0.3/24", "10.0.0.1"), ip("fd00::2/64", "fd00::1")}, nil, "gave 3 addresses"},
		"one family":     {[]*current.IPConfig{ip("10.0.0.2/24", "10.0.0.1"), ip("10.0.0.3/24", "10.0.0.1")}, nil, "second address 10.0.0.3/24"},
		"no gateway":     {[]*current.IPConfig{ip("10.0.0.2/24", "")}, nil, "want one in that subnet"},
		"gateway beside": {[]*current.IPConfig{ip("10.0.0.2/24", "10.0.1.1")}, nil, "want one in that subnet"},
		"no mask":        {[]*current.IPConfig{{Address: net.IPNet{IP: net.IPv4(10, 0, 0, 2)}}}, nil, "without a mask"},
		"route":          {[]*current.IPConfig{ip("10.0.0.2/24", "10.0.0.1")}, []*types.Route{{}}, "route <nil> without a mask"},
		"route of IPv6": {[]*current.IPConfig{ip("10.0.0.2/24", "10.0.0.1")},
			[]*types.Route{{Dst: net.IPNet{IP: net.ParseIP("fd00::"), Mask: net.CIDRMask(8, 128)}}}, "no address of its family"},
	} {
		if _, err := newPlan(&current.Result{IPs: c.ips, Routes: c.routes}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want %q", name, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"bridge":"ecs-bridge","mtu":9001,"ipam":{"type":"ecs-ipam"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parse(data); err == nil && (!validName(c.bridge) || c.mtu == 0) {
			t.Fatalf("%s gave %+v", data, c)
		}
	})
}
