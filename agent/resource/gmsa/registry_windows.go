package gmsa

import (
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// System is the registry of this host.
type System struct{}

var _ Registry = System{}

const plugin = `System\CurrentControlSet\Services\AmazonECSCCGPlugin`

// readers are the system and administrators, whoever may read the keys above.
const readers = "D:P(A;OICI;KA;;;SY)(A;OICI;KA;;;BA)"

// Set implements Registry.
func (System) Set(key string, values map[string]string) error {
	root, _, err := registry.CreateKey(registry.LOCAL_MACHINE, plugin, registry.CREATE_SUB_KEY|registry.ENUMERATE_SUB_KEYS)
	if err != nil {
		return fmt.Errorf("make registry key %s: %w", plugin, err)
	}
	defer root.Close()
	k, _, err := registry.CreateKey(root, key, registry.SET_VALUE|registry.QUERY_VALUE|windows.WRITE_DAC)
	if err != nil {
		return fmt.Errorf("make registry key %s: %w", key, err)
	}
	defer k.Close()
	// Before there is anything to read.
	if err := protect(windows.Handle(k)); err != nil {
		return fmt.Errorf("keep others from registry key %s: %w", key, err)
	}
	for name, value := range values {
		if err := k.SetStringValue(name, value); err != nil {
			return fmt.Errorf("set registry value %s: %w", name, err)
		}
	}
	return nil
}

func protect(key windows.Handle) error {
	d, err := windows.SecurityDescriptorFromString(readers)
	if err != nil {
		return err
	}
	acl, _, err := d.DACL()
	if err != nil {
		return err
	}
	return windows.SetSecurityInfo(key, windows.SE_REGISTRY_KEY, windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, acl, nil)
}

// Delete implements Registry.
func (System) Delete(key string) error {
	root, err := registry.OpenKey(registry.LOCAL_MACHINE, plugin, registry.CREATE_SUB_KEY|registry.ENUMERATE_SUB_KEYS)
	if errors.Is(err, registry.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open registry key %s: %w", plugin, err)
	}
	defer root.Close()
	if err := registry.DeleteKey(root, key); err != nil && !errors.Is(err, registry.ErrNotExist) {
		return fmt.Errorf("delete registry key %s: %w", key, err)
	}
	return nil
}

// Keys implements Registry.
func (System) Keys() ([]string, error) {
	root, err := registry.OpenKey(registry.LOCAL_MACHINE, plugin, registry.ENUMERATE_SUB_KEYS)
	if errors.Is(err, registry.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open registry key %s: %w", plugin, err)
	}
	defer root.Close()
	return root.ReadSubKeyNames(-1)
}
