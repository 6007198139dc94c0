package platform

import "testing"

func TestIPv6Only(t *testing.T) {
	for _, tt := range []struct {
		f      IPFamilies
		compat string
		want   bool
	}{
		{IPFamilies{}, "", false}, {IPFamilies{IPv4: true}, "", false}, {IPFamilies{IPv6: true}, "", true}, {IPFamilies{true, true}, "", false},
		{IPFamilies{IPv6: true}, "ipv4", false}, {IPFamilies{IPv4: true}, " IPv6 ", true}, {IPFamilies{IPv6: true}, "both", true},
	} {
		if got := tt.f.IPv6Only(tt.compat); got != tt.want {
			t.Errorf("%+v with %q: %v", tt.f, tt.compat, got)
		}
	}
}

func TestNames(t *testing.T) {
	for goarch, want := range map[string]string{"amd64": "x86_64", "386": "i386", "arm64": "arm64", "riscv64": "riscv64"} {
		if got := Architecture(goarch); got != want {
			t.Errorf("%s: %s, want %s", goarch, got, want)
		}
	}
	for want, r := range map[string]OSRelease{"amzn_2023": {ID: "amzn", VersionID: "2023"}, "linux": {ID: "arch"}} {
		if got := r.Detailed(); got != want {
			t.Errorf("%+v: %s, want %s", r, got, want)
		}
	}
}
