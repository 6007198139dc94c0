package adapters

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"ecsagent/cni/vswitch"
)

// System are the adapters of this host.
type System struct{}

var _ vswitch.Adapters = System{}

const (
	ethernet      = 6      // octets of an address
	filter        = 1 << 1 // in InterfaceAndOperStatusFlags: a driver in the stack of an adapter
	adminUp       = 1      // NET_IF_ADMIN_STATUS_UP
	disableLimit  = time.Minute
	firstListSize = 32 << 10
)

// All implements vswitch.Adapters. Disabled adapters are among them, other than in the
// lists of adapters with addresses.
func (System) All(context.Context) ([]vswitch.Adapter, error) {
	gateways, err := withGateway()
	if err != nil {
		return nil, err
	}
	var table *windows.MibIfTable2
	if err := windows.GetIfTable2Ex(windows.MibIfTableNormalWithoutStatistics, &table); err != nil {
		return nil, fmt.Errorf("read the table of interfaces: %w", err)
	}
	defer windows.FreeMibTable(unsafe.Pointer(table))
	var all []vswitch.Adapter
	rows := unsafe.Slice(&table.Table[0], table.NumEntries)
	for i := range rows {
		r := &rows[i]
		if r.PhysicalAddressLength != ethernet || r.InterfaceAndOperStatusFlags&filter != 0 {
			continue
		}
		all = append(all, vswitch.Adapter{
			Index: int(r.InterfaceIndex), Name: windows.UTF16ToString(r.Alias[:]),
			MAC: append(net.HardwareAddr(nil), r.PhysicalAddress[:ethernet]...),
			Up:  r.AdminStatus == adminUp, Gateway: gateways[r.InterfaceIndex],
		})
	}
	return all, nil
}

// withGateway is which adapters have a default gateway of IPv4, by index.
func withGateway() (map[uint32]bool, error) {
	found := make(map[uint32]bool)
	err := each(windows.GAA_FLAG_INCLUDE_GATEWAYS, func(a *windows.IpAdapterAddresses) { found[a.IfIndex] = a.FirstGatewayAddress != nil })
	return found, err
}

// each calls f for each adapter that has IPv4.
func each(flags uint32, f func(*windows.IpAdapterAddresses)) error {
	for size := uint32(firstListSize); ; {
		buffer := make([]byte, size)
		list := (*windows.IpAdapterAddresses)(unsafe.Pointer(&buffer[0]))
		err := windows.GetAdaptersAddresses(windows.AF_INET, flags, 0, list, &size)
		switch {
		case errors.Is(err, windows.ERROR_BUFFER_OVERFLOW) && int(size) > len(buffer):
			continue
		case errors.Is(err, windows.ERROR_NO_DATA):
			return nil
		case err != nil:
			return fmt.Errorf("list adapters with addresses: %w", err)
		}
		for ; list != nil; list = list.Next {
			f(list)
		}
		return nil
	}
}

// Servers are the DNS servers of the adapter with an address, and of one with a default
// gateway where the address is not known.
func Servers(mac net.HardwareAddr) (servers []string, err error) {
	err = each(windows.GAA_FLAG_INCLUDE_GATEWAYS, func(a *windows.IpAdapterAddresses) {
		own := net.HardwareAddr(a.PhysicalAddress[:min(int(a.PhysicalAddressLength), len(a.PhysicalAddress))])
		if len(servers) > 0 || mac != nil && !bytes.Equal(own, mac) || mac == nil && a.FirstGatewayAddress == nil {
			return
		}
		for d := a.FirstDnsServerAddress; d != nil; d = d.Next {
			if ip, ok := netip.AddrFromSlice(d.Address.IP()); ok && ip.Unmap().Is4() {
				servers = append(servers, ip.Unmap().String())
			}
		}
	})
	return servers, err
}

// Disable implements vswitch.Adapters. Windows has no documented call for it but
// PowerShell's.
func (System) Disable(ctx context.Context, a vswitch.Adapter) error {
	ctx, cancel := context.WithTimeout(ctx, disableLimit)
	defer cancel()
	system, err := windows.GetSystemDirectory()
	if err != nil {
		return fmt.Errorf("find PowerShell: %w", err)
	}
	c := exec.CommandContext(ctx, filepath.Join(system, `WindowsPowerShell\v1.0\powershell.exe`), disableCommand(a)...)
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NO_WINDOW}
	// What a console is made of may hold the output open longer than the program lives.
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it has ended well
	}
	if err != nil {
		const longest = 500
		text := strings.TrimSpace(string(out))
		return fmt.Errorf("PowerShell: %w: %s", err, text[:min(len(text), longest)])
	}
	return nil
}

// disableCommand names the adapter by its index: names are chosen by others.
func disableCommand(a vswitch.Adapter) []string {
	return []string{
		"-NoProfile", "-NonInteractive", "-Command",
		fmt.Sprintf("$ErrorActionPreference = 'Stop'; Get-NetAdapter -InterfaceIndex %d | Disable-NetAdapter -Confirm:$false", a.Index),
	}
}
