package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"

	host "ecsagent/platform_windows"
)

// Where Windows keeps the environment of the machine, and what it knows of sources of
// events.
const (
	environmentKey = `SYSTEM\CurrentControlSet\Control\Session Manager\Environment`
	eventLogKey    = `SYSTEM\CurrentControlSet\Services\EventLog\Application\`
)

// stopLimit is how long a running service has to end before it is removed.
const stopLimit = time.Minute

// Install makes the service what the definition says, whether or not there is one by its
// name. A running service is left running; it is changed from its next start on. What
// comes back are settings that this Windows does not know and goes without.
func Install(d Definition) (without []string, err error) {
	if info, err := os.Stat(d.Program); err != nil || info.IsDir() {
		return nil, fmt.Errorf("program %s: is no file: %w", d.Program, errors.Join(err, fs.ErrInvalid))
	}
	m, err := connect()
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Disconnect() }()
	if err := protect(d.Directory); err != nil {
		return nil, err
	}
	if err := setEnvironment(d.Environment); err != nil {
		return nil, err
	}
	if err := installEvents(d.EventSource); err != nil {
		return nil, err
	}
	s, err := put(m, d)
	if err != nil {
		return nil, fmt.Errorf("install service %s: %w", d.Name, err)
	}
	defer s.Close()
	if without, err = refine(s, d); err != nil {
		return nil, fmt.Errorf("install service %s: %w", d.Name, err)
	}
	return without, nil
}

func connect() (*mgr.Mgr, error) {
	m, err := mgr.Connect()
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return nil, fmt.Errorf("connect to the service control manager, which only administrators may: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the service control manager: %w", err)
	}
	return m, nil
}

// put creates the service, or changes the one there is.
func put(m *mgr.Mgr, d Definition) (*mgr.Service, error) {
	start := map[Start]uint32{Automatic: mgr.StartAutomatic, Manual: mgr.StartManual, Disabled: mgr.StartDisabled}[d.Start]
	s, err := m.OpenService(d.Name)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return m.CreateService(d.Name, d.Program, mgr.Config{
			StartType: start, ErrorControl: mgr.ErrorNormal, Dependencies: d.DependsOn, DisplayName: d.DisplayName,
		}, d.Arguments...)
	}
	if err != nil {
		return nil, err
	}
	var texts []*uint16
	for _, text := range []string{windows.ComposeCommandLine(append([]string{d.Program}, d.Arguments...)), "LocalSystem", d.DisplayName} {
		p, err := windows.UTF16PtrFromString(text)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%q: %w", text, err), s.Close())
		}
		texts = append(texts, p)
	}
	// Texts one after the other, and an empty one: it alone takes away what was there.
	dependencies := utf16.Encode([]rune(strings.Join(append(d.DependsOn, ""), "\x00") + "\x00"))
	err = windows.ChangeServiceConfig(s.Handle, windows.SERVICE_WIN32_OWN_PROCESS, start, mgr.ErrorNormal, texts[0], nil, nil,
		&dependencies[0], texts[1], nil, texts[2])
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// refine sets what Windows got over time.
func refine(s *mgr.Service, d Definition) (without []string, err error) {
	description, err := windows.UTF16PtrFromString(d.Description)
	if err != nil {
		return nil, fmt.Errorf("description %q: %w", d.Description, err)
	}
	var restarts []mgr.RecoveryAction
	for _, after := range d.Restarts {
		restarts = append(restarts, mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: after})
	}
	var delayed windows.SERVICE_DELAYED_AUTO_START_INFO
	if d.Start == Automatic {
		delayed.IsDelayedAutoStartUp = 1
	}
	timeout := uint32(d.PreShutdown.Milliseconds()) // SERVICE_PRESHUTDOWN_INFO
	set := func(level uint32, info unsafe.Pointer) error {
		return windows.ChangeServiceConfig2(s.Handle, level, (*byte)(info))
	}
	for _, step := range []struct {
		what string
		err  error
	}{
		{"description", set(windows.SERVICE_CONFIG_DESCRIPTION, unsafe.Pointer(&windows.SERVICE_DESCRIPTION{Description: description}))},
		{"restart after a failure", s.SetRecoveryActions(restarts, uint32(d.ForgetFailures.Seconds()))},
		// Codes that say "never again" are told as success, see Machine.
		{"restart after an end with an error code", s.SetRecoveryActionsOnNonCrashFailures(true)},
		{"delayed start", set(windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, unsafe.Pointer(&delayed))},
		{"time to end before a shutdown", set(windows.SERVICE_CONFIG_PRESHUTDOWN_INFO, unsafe.Pointer(&timeout))},
	} {
		if errors.Is(step.err, windows.ERROR_INVALID_LEVEL) {
			without = append(without, step.what)
		} else if step.err != nil {
			return nil, fmt.Errorf("set %s: %w", step.what, step.err)
		}
	}
	return without, nil
}

// protect makes the directory one that only administrators and the system write to: any
// user may create directories below %ProgramData%, and the agent obeys what it reads
// there. One that an administrator or the system made is left as it is.
func protect(directory string) error {
	if info, err := os.Stat(directory); err == nil && info.IsDir() && host.TrustedOwner(directory) {
		return nil
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return fmt.Errorf("create directory %s: %w", directory, err)
	}
	const access = "O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)"
	sd, err := windows.SecurityDescriptorFromString(access)
	if err != nil {
		return fmt.Errorf("access to %s: %w", directory, err)
	}
	list, _, err := sd.DACL()
	if err != nil {
		return fmt.Errorf("access to %s: %w", directory, err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("owner of %s: %w", directory, err)
	}
	const what = windows.OWNER_SECURITY_INFORMATION | windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	if err := windows.SetNamedSecurityInfo(directory, windows.SE_FILE_OBJECT, what, owner, nil, list, nil); err != nil {
		return fmt.Errorf("protect directory %s: %w", directory, err)
	}
	return nil
}

func setEnvironment(variables []Variable) error {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, environmentKey, registry.QUERY_VALUE|registry.SET_VALUE)
	if err != nil {
		return fmt.Errorf("open the environment of the machine: %w", err)
	}
	defer key.Close()
	for _, v := range variables {
		if _, _, err := key.GetStringValue(v.Name); err == nil {
			continue
		} else if !errors.Is(err, registry.ErrNotExist) {
			return fmt.Errorf("read variable %s of the machine: %w", v.Name, err)
		}
		if err := key.SetStringValue(v.Name, v.Value); err != nil {
			return fmt.Errorf("set variable %s of the machine: %w", v.Name, err)
		}
	}
	return nil
}

func installEvents(source string) error {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, eventLogKey+source, registry.QUERY_VALUE)
	if err == nil {
		return key.Close()
	}
	if err := eventlog.InstallAsEventCreate(source, eventlog.Error|eventlog.Warning|eventlog.Info); err != nil {
		return fmt.Errorf("install the source of events %s: %w", source, err)
	}
	return nil
}

// Uninstall stops the service and removes what Install made, but for the directory. What
// is not there is no error.
func Uninstall(d Definition) error {
	m, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = m.Disconnect() }()
	s, err := m.OpenService(d.Name)
	if err == nil {
		err = errors.Join(halt(s), s.Delete(), s.Close())
	} else if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("remove service %s: %w", d.Name, err)
	}
	if err := eventlog.Remove(d.EventSource); err != nil && !errors.Is(err, registry.ErrNotExist) {
		return fmt.Errorf("remove the source of events %s: %w", d.EventSource, err)
	}
	return unsetEnvironment(d.Environment)
}

// halt stops the service, and waits for its process.
func halt(s *mgr.Service) error {
	status, err := s.Query()
	if err != nil || status.State == svc.Stopped {
		return err
	}
	process, err := windows.OpenProcess(windows.SYNCHRONIZE, false, status.ProcessId)
	if err != nil {
		return fmt.Errorf("stop it: open process %d: %w", status.ProcessId, err)
	}
	defer func() { _ = windows.CloseHandle(process) }()
	if _, err := s.Control(svc.Stop); err != nil && !errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) &&
		!errors.Is(err, windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL) {
		return fmt.Errorf("stop it: %w", err)
	}
	event, err := windows.WaitForSingleObject(process, uint32(stopLimit.Milliseconds()))
	if err != nil {
		return fmt.Errorf("wait for its end: %w", err)
	}
	if event != windows.WAIT_OBJECT_0 {
		return fmt.Errorf("stop it: process %d has not ended within %s: %w", status.ProcessId, stopLimit, syscall.ETIMEDOUT)
	}
	return nil
}

// unsetEnvironment removes the variables that are as Install set them.
func unsetEnvironment(variables []Variable) error {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, environmentKey, registry.QUERY_VALUE|registry.SET_VALUE)
	if err != nil {
		return fmt.Errorf("open the environment of the machine: %w", err)
	}
	defer key.Close()
	for _, v := range variables {
		value, _, err := key.GetStringValue(v.Name)
		if err != nil || !strings.EqualFold(value, v.Value) {
			continue
		}
		if err := key.DeleteValue(v.Name); err != nil && !errors.Is(err, registry.ErrNotExist) {
			return fmt.Errorf("remove variable %s of the machine: %w", v.Name, err)
		}
	}
	return nil
}
