package taskpath

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/windows/registry"
)

// TestState reads what is there; the way of a proxy through the registry is one that the
// test lays.
func TestState(t *testing.T) {
	h := System{Agent: agent}
	before, err := h.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if nat, err := net.InterfaceByName("vEthernet (nat)"); err == nil && nat.Index != before.Adapter {
		t.Errorf("%+v, want the adapter %d", before, nat.Index)
	}
	if before.Proxy.IsValid() || before.Door {
		t.Skipf("the path is on this host already: %+v", before)
	}
	for path, value := range map[string][2]string{
		proxies:  {fmt.Sprintf("%s/%d", Address, Port), "127.0.0.1/51679"},
		firewall: {"{8B7C2F60-7A3A-4E8E-9B5E-ECSAGENTTEST}", "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=51679|Name=x|"},
	} {
		key, _, err := registry.CreateKey(registry.LOCAL_MACHINE, path, registry.SET_VALUE)
		if err != nil {
			t.Skip("needs an administrator:", err)
		}
		defer key.Close()
		if err := key.SetStringValue(value[0], value[1]); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = key.DeleteValue(value[0]) }()
	}
	after, err := h.State(t.Context())
	if err != nil || after.Proxy != agent || !after.Door {
		t.Errorf("%+v %v", after, err)
	}
}
