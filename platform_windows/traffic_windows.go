package windows

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"

	"ecsagent/agent/stats"
)

// luidOfAlias finds an adapter by its name, also one that a container has.
var luidOfAlias = windows.NewLazySystemDLL("iphlpapi.dll").NewProc("ConvertInterfaceAliasToLuid")

// Traffic is what has gone through the adapter of a name (docs/spec/05 section 5.14).
func Traffic(adapter string) (stats.Network, error) {
	name, err := windows.UTF16PtrFromString(adapter)
	if err != nil {
		return stats.Network{}, fmt.Errorf("adapter %q: %w", adapter, err)
	}
	var row windows.MibIfRow2
	if code, _, _ := luidOfAlias.Call(uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&row.InterfaceLuid))); code != 0 {
		return stats.Network{}, fmt.Errorf("find adapter %q: %w", adapter, windows.Errno(code))
	}
	if err := windows.GetIfEntry2Ex(windows.MibIfEntryNormal, &row); err != nil {
		return stats.Network{}, fmt.Errorf("read the counters of adapter %q: %w", adapter, err)
	}
	return stats.Network{
		RxBytes: row.InOctets, RxPackets: row.InUcastPkts + row.InNUcastPkts, RxErrors: row.InErrors, RxDropped: row.InDiscards,
		TxBytes: row.OutOctets, TxPackets: row.OutUcastPkts + row.OutNUcastPkts, TxErrors: row.OutErrors, TxDropped: row.OutDiscards,
	}, nil
}
