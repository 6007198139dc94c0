package gmsa

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/windows/registry"
)

func TestRegistry(t *testing.T) {
	key := fmt.Sprintf("arn:aws:ecs:eu-west-1:111122223333:task/test/%032x", os.Getpid())
	var s System
	t.Cleanup(func() { _ = s.Delete(key) })
	for _, id := range []string{"one", "two"} {
		if err := s.Set(key, map[string]string{"AKID": id}); err != nil {
			t.Fatal(err)
		}
		k, err := registry.OpenKey(registry.LOCAL_MACHINE, plugin+`\`+key, registry.QUERY_VALUE)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := k.GetStringValue("AKID")
		if err != nil || got != id {
			t.Errorf("%q %v", got, err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
	if all, err := s.Keys(); err != nil || !slices.Contains(all, key) {
		t.Errorf("%q %v", all, err)
	}
	for range 2 {
		if err := s.Delete(key); err != nil {
			t.Error(err)
		}
	}
	if all, err := s.Keys(); err != nil || slices.Contains(all, key) {
		t.Errorf("%q %v", all, err)
	}
}
