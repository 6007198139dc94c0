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
}
