package taskpath

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

const (
	proxies  = `SYSTEM\CurrentControlSet\Services\PortProxy\v4tov4\tcp`
	firewall = `SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules`

	commandLimit  = 30 * time.Second
	firstListSize = 32 << 10
)

// System is this host.
type System struct {
	Agent netip.AddrPort // where the agent listens
}

var _ Host = System{}

// State implements Host.
func (h System) State(context.Context) (s State, err error) {
	if err := adapters(&s); err != nil {
		return s, err
	}
	if s.Proxy, err = proxy(); err != nil {
		return s, err
	}
	s.Door, err = door(h.Agent)
	return s, err
}

// adapters finds the adapter and the address.
func adapters(s *State) error {
	for size := uint32(firstListSize); ; {
		buffer := make([]byte, size)
		list := (*windows.IpAdapterAddresses)(unsafe.Pointer(&buffer[0]))
		err := windows.GetAdaptersAddresses(windows.AF_INET, 0, 0, list, &size)
		switch {
		case errors.Is(err, windows.ERROR_BUFFER_OVERFLOW) && int(size) > len(buffer):
			continue
		case errors.Is(err, windows.ERROR_NO_DATA):
			return nil
		case err != nil:
			return fmt.Errorf("list the adapters of the host: %w", err)
		}
		for ; list != nil; list = list.Next {
			if list.OperStatus == windows.IfOperStatusUp && isNAT(windows.UTF16PtrToString(list.FriendlyName)) {
				s.Adapter = int(list.IfIndex)
			}
			for a := list.FirstUnicastAddress; a != nil; a = a.Next {
				ip, ok := netip.AddrFromSlice(a.Address.IP())
				if !ok || ip.Unmap() != Address {
					continue
				}
				s.Address = Tentative
				if a.DadState == windows.IpDadStatePreferred {
					s.Address = Preferred
				}
			}
		}
		return nil
	}
}

func proxy() (netip.AddrPort, error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, proxies, registry.QUERY_VALUE)
	if errors.Is(err, registry.ErrNotExist) {
		return netip.AddrPort{}, nil
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("read the proxies of the host: %w", err)
	}
	defer key.Close()
	to, _, err := key.GetStringValue(fmt.Sprintf("%s/%d", Address, Port))
	if err != nil && !errors.Is(err, registry.ErrNotExist) {
		return netip.AddrPort{}, fmt.Errorf("read the proxies of the host: %w", err)
	}
	return proxyTarget(to), nil
}

func door(agent netip.AddrPort) (bool, error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, firewall, registry.QUERY_VALUE)
	if errors.Is(err, registry.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the rules of the firewall: %w", err)
	}
	defer key.Close()
	names, err := key.ReadValueNames(-1)
	if err != nil {
		return false, fmt.Errorf("read the rules of the firewall: %w", err)
	}
	for _, name := range names {
		if rule, _, err := key.GetStringValue(name); err == nil && opens(rule, agent) {
			return true, nil
		}
	}
	return false, nil
}

// Do implements Host.
func (h System) Do(ctx context.Context, step Step, adapter int) error {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	system, err := windows.GetSystemDirectory()
	if err != nil {
		return fmt.Errorf("find netsh: %w", err)
	}
	out, err := exec.CommandContext(ctx, filepath.Join(system, "netsh.exe"), command(step, adapter, h.Agent)...).CombinedOutput()
	if err != nil {
		const longest = 500
		text := strings.TrimSpace(string(out))
		return fmt.Errorf("netsh: %w: %s", err, text[:min(len(text), longest)])
	}
	return nil
}
