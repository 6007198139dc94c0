package adapters

import (
	"net"
	"slices"
	"strings"
	"testing"

	"ecsagent/cni/vswitch"
)

// TestAll compares with what Go's library finds by another call.
func TestAll(t *testing.T) {
	all, err := System{}.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range known {
		if len(want.HardwareAddr) != ethernet || want.Flags&net.FlagLoopback != 0 {
			continue
		}
		i := slices.IndexFunc(all, func(a vswitch.Adapter) bool { return a.Index == want.Index })
		if i < 0 || all[i].Name != want.Name || all[i].MAC.String() != want.HardwareAddr.String() {
			t.Errorf("%+v is not among %+v", want, all)
		}
	}
	t.Log(all)
}

// TestDisableCommand: nothing that others name gets into a command.
func TestDisableCommand(t *testing.T) {
	got := strings.Join(disableCommand(vswitch.Adapter{Index: 12, Name: `"; calc.exe; "`}), " ")
	if want := `-NoProfile -NonInteractive -Command $ErrorActionPreference = 'Stop'; Get-NetAdapter -InterfaceIndex 12 | Disable-NetAdapter -Confirm:$false`; got != want {
		t.Error(got)
	}
}
