package vpc

import (
	"net/netip"
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	for _, tt := range []struct{ name, subnet, want string }{
		{"ecs-local", "10.20.1.1/24", ""},
		{"", "10.20.1.1/24", `name of the VPC's namespace ""`},
		{"../etc", "10.20.1.1/24", `namespace "../etc"`},
		{"a", "10.20.1.0/24", `subnet "10.20.1.0/24"`},
		{"a", "10.20.1.1/30", "16 to 28"},
		{"a", "10.20.1.1/8", "16 to 28"},
		{"a", "2001:db8::1/64", "IPv4"},
	} {
		o := Options{Name: tt.name, Subnet: netip.MustParsePrefix(tt.subnet)}
		err := o.Check()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s %s: %v, want %q", tt.name, tt.subnet, err, tt.want)
		}
	}
	for subnet6, want := range map[string]string{
		"fd20:ec5::1/64": "", "fd20:ec5::/64": "gateway's IPv6", "fd20:ec5::1/80": "length 64", "10.0.0.1/24": "IPv6", "::ffff:10.0.0.1/64": "IPv6",
	} {
		o := Options{Name: "a", Subnet: netip.MustParsePrefix(DefaultSubnet), Subnet6: netip.MustParsePrefix(subnet6), IPv6Only: true}
		if err := o.Check(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", subnet6, err, want)
		}
	}
	if err := (&Options{Name: "a", Subnet: netip.MustParsePrefix(DefaultSubnet), IPv6Only: true}).Check(); err == nil {
		t.Error("interfaces without any address were taken")
	}
}
