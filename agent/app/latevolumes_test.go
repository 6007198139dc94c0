package app

import (
	"maps"
	"testing"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/store"
)

// Volumes that were remembered are known after a restart, until they are forgotten.
func TestLateVolumes(t *testing.T) {
	dir := t.TempDir()
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var found map[string]time.Time
	within := func(do func(lateVolumes) error) {
		t.Helper()
		s, loaded, err := store.Open(dir, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		l := lateVolumes{s, loaded.Meta}
		found = l.LateVolumes()
		if err := do(l); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	within(func(l lateVolumes) error { return l.KeepLateVolume("ecs-a", since) })
	within(func(l lateVolumes) error { return l.KeepLateVolume("ecs-b", since.Add(time.Hour)) })
	within(func(l lateVolumes) error { return l.ForgetLateVolume("ecs-a") })
	if want := map[string]time.Time{"ecs-a": since, "ecs-b": since.Add(time.Hour)}; !maps.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
	within(func(l lateVolumes) error {
		return l.store.SetMeta(map[string]string{store.KeyLateVolume + "ecs-b": "x"})
	})
	within(func(l lateVolumes) error { return nil })
	if want := map[string]time.Time{"ecs-b": {}}; !maps.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
}
