package windows

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"ecsagent/agent/platform"
)

const (
	currentVersion = `SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	comClasses     = `SYSTEM\CurrentControlSet\Control\CCG\COMClasses`
)

// Gather finds out the facts of this host. It returns what it could find together
// with the errors of the rest; none of them needs to stop the agent. Windows counts
// as an IPv4 host.
func Gather(ctx context.Context) (platform.Host, error) {
	h := platform.Host{
		OSType: "windows", OSFamily: unknownFamily, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(),
		IP: platform.IPFamilies{IPv4: true}, Tools: make(map[string]string),
	}
	if err := ctx.Err(); err != nil {
		return h, err
	}
	memory, memErr := memoryMiB()
	h.MemoryMiB = memory
	build, installation, product, verErr := version()
	if verErr == nil {
		h.OSFamily = Family(build, installation)
		h.Kernel = build
		h.OSRelease.PrettyName = product
	}
	for _, tool := range platform.Tools {
		if found, err := exec.LookPath(tool); err == nil {
			h.Tools[tool] = found
		}
	}
	return h, errors.Join(memErr, verErr)
}

// DomainJoined reports whether the machine is a member of a domain.
func DomainJoined() (bool, error) {
	var name *uint16
	var status uint32
	if err := windows.NetGetJoinInformation(nil, &name, &status); err != nil {
		return false, fmt.Errorf("find out whether the machine is in a domain: %w", err)
	}
	defer func() { _ = windows.NetApiBufferFree((*byte)(unsafe.Pointer(name))) }()
	return status == windows.NetSetupDomainName, nil
}

// DomainlessGMSA reports whether the plug-in for domainless gMSA is registered.
func DomainlessGMSA() (bool, error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, comClasses, registry.ENUMERATE_SUB_KEYS)
	if errors.Is(err, registry.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open registry key %s: %w", comClasses, err)
	}
	defer key.Close()
	names, err := key.ReadSubKeyNames(-1)
	if err != nil {
		return false, fmt.Errorf("list registry key %s: %w", comClasses, err)
	}
	return hasCredentialPlugin(names), nil
}

func version() (build, installation, product string, err error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, currentVersion, registry.QUERY_VALUE)
	if err != nil {
		return "", "", "", fmt.Errorf("open registry key %s: %w", currentVersion, err)
	}
	defer key.Close()
	for name, into := range map[string]*string{"CurrentBuild": &build, "InstallationType": &installation, "ProductName": &product} {
		if *into, _, err = key.GetStringValue(name); err != nil {
			return "", "", "", fmt.Errorf("read registry value %s: %w", name, err)
		}
	}
	return build, installation, product, nil
}

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	length                                uint32
	memoryLoad                            uint32
	totalPhys, availPhys                  uint64
	totalPageFile, availPageFile          uint64
	totalVirtual, availVirtual, availExtd uint64
}

func memoryMiB() (int64, error) {
	call := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	status := memoryStatus{}
	status.length = uint32(unsafe.Sizeof(status))
	if ok, _, err := call.Call(uintptr(unsafe.Pointer(&status))); ok == 0 {
		return 0, fmt.Errorf("find the memory size: %w", err)
	}
	return int64(status.totalPhys >> 20), nil
}
