package windows

import "testing"

func TestFamily(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"14393", "Server"}: "WINDOWS_SERVER_2016_FULL", {"17763", "Server Core"}: "WINDOWS_SERVER_2019_CORE",
		{"19041", "Server Core"}: "WINDOWS_SERVER_2004_CORE", {"19042", "Server Core"}: "WINDOWS_SERVER_20H2_CORE",
		{"20348", "Server"}: "WINDOWS_SERVER_2022_FULL", {"26100", "Server"}: "WINDOWS_SERVER_2025_FULL",
		{"26100", "Client"}: "windows", {"99999", "Server"}: "windows", {"", ""}: "windows",
	} {
		if got := Family(in[0], in[1]); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
}

func TestServer2016AndPlugin(t *testing.T) {
	if !IsServer2016("Microsoft Windows Server 2016 Datacenter") || IsServer2016("Windows Server 2019 Datacenter") {
		t.Error("IsServer2016 is wrong")
	}
	if !hasCredentialPlugin([]string{"{x}", "{859e1386-bdb4-49e8-85c7-3070b13920e1}"}) || hasCredentialPlugin([]string{"{x}"}) {
		t.Error("hasCredentialPlugin is wrong")
	}
}
