package service

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows/registry"
)

// servicesKey is where Windows keeps what it knows of services.
const servicesKey = `SYSTEM\CurrentControlSet\Services\`

// Refresh gives this process the settings that the machine's environment has in the
// registry now, as far as the service of the given name has none of its own. It is for the
// very start of a service.
func Refresh(name string) error {
	machine, err := machineVariables()
	if err != nil {
		return err
	}
	own, err := ownVariables(name)
	if err != nil {
		return err
	}
	for _, v := range stale(os.LookupEnv, machine, own) {
		if err := os.Setenv(v.Name, v.Value); err != nil {
			return fmt.Errorf("take over variable %s of the machine: %w", v.Name, err)
		}
	}
	return nil
}

func machineVariables() (list []Variable, err error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, environmentKey, registry.QUERY_VALUE)
	if err != nil {
		return nil, fmt.Errorf("open the environment of the machine: %w", err)
	}
	defer key.Close()
	names, err := key.ReadValueNames(-1)
	if err != nil {
		return nil, fmt.Errorf("list the environment of the machine: %w", err)
	}
	for _, name := range names {
		if !isSetting(name) {
			continue
		}
		value, kind, err := key.GetStringValue(name)
		if errors.Is(err, registry.ErrUnexpectedType) || errors.Is(err, registry.ErrNotExist) {
			continue // no variable, or not any more
		}
		if err == nil && kind == registry.EXPAND_SZ {
			value, err = registry.ExpandString(value)
		}
		if err != nil {
			return nil, fmt.Errorf("read variable %s of the machine: %w", name, err)
		}
		list = append(list, Variable{name, value})
	}
	return list, nil
}

func ownVariables(name string) ([]Variable, error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, servicesKey+name, registry.QUERY_VALUE)
	if errors.Is(err, registry.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open what Windows knows of the service %s: %w", name, err)
	}
	defer key.Close()
	lines, _, err := key.GetStringsValue("Environment")
	if err != nil && !errors.Is(err, registry.ErrNotExist) {
		return nil, fmt.Errorf("read the environment of the service %s: %w", name, err)
	}
	return variables(lines), nil
}
