package service

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/windows/registry"
)

// TestRefresh: a variable that the machine was given since this process started is there,
// expanded where it is to be, and one of the service's own wins.
func TestRefresh(t *testing.T) {
	machine, err := registry.OpenKey(registry.LOCAL_MACHINE, environmentKey, registry.QUERY_VALUE|registry.SET_VALUE)
	if err != nil {
		t.Skip("needs an administrator:", err)
	}
	defer machine.Close()
	service := fmt.Sprint("AmazonECSTestRefresh", os.Getpid())
	key, _, err := registry.CreateKey(registry.LOCAL_MACHINE, servicesKey+service, registry.ALL_ACCESS)
	if err != nil {
		t.Skip("needs an administrator:", err)
	}
	defer func() {
		_ = key.Close()
		_ = registry.DeleteKey(registry.LOCAL_MACHINE, servicesKey+service)
	}()
	names := map[string]string{}
	for _, what := range []string{"PLAIN", "EXPANDED", "OWN"} {
		name := fmt.Sprint("ECS_SERVICE_TEST_", what, os.Getpid())
		names[what] = name
		defer func() {
			_ = machine.DeleteValue(name)
			_ = os.Unsetenv(name)
		}()
	}
	for _, err := range []error{
		machine.SetStringValue(names["PLAIN"], "%SystemRoot%"), machine.SetExpandStringValue(names["EXPANDED"], `%SystemRoot%\x`), machine.SetStringValue(names["OWN"], "machine"),
		key.SetStringsValue("Environment", []string{names["OWN"] + "=service"}), os.Setenv(names["OWN"], "service"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := Refresh(service); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{"PLAIN": "%SystemRoot%", "EXPANDED": os.Getenv("SystemRoot") + `\x`, "OWN": "service"} {
		if got := os.Getenv(names[what]); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	if err := Refresh(service + "Missing"); err != nil || os.Getenv(names["OWN"]) != "machine" {
		t.Errorf("a service with nothing of its own: %q %v", os.Getenv(names["OWN"]), err)
	}
}
