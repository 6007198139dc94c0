package app

import (
	"strings"
	"time"

	"ecsagent/agent/store"
)

// lateVolumes remembers in the state file which volumes of former tasks Docker may still be
// making. It implements engine.LateVolumes.
type lateVolumes struct {
	store interface {
		SetMeta(values map[string]string) error
	}
	loaded map[string]string // metadata as the agent found it
}

// LateVolumes implements engine.LateVolumes.
func (l lateVolumes) LateVolumes() map[string]time.Time {
	all := make(map[string]time.Time)
	for key, value := range l.loaded {
		name, ok := strings.CutPrefix(key, store.KeyLateVolume)
		if !ok || name == "" {
			continue
		}
		since, _ := time.Parse(time.RFC3339, value) // one that cannot be read counts as long ago: it is looked for once
		all[name] = since
	}
	return all
}

// KeepLateVolume implements engine.LateVolumes.
func (l lateVolumes) KeepLateVolume(name string, since time.Time) error {
	return l.store.SetMeta(map[string]string{store.KeyLateVolume + name: since.UTC().Format(time.RFC3339)})
}

// ForgetLateVolume implements engine.LateVolumes.
func (l lateVolumes) ForgetLateVolume(name string) error {
	return l.store.SetMeta(map[string]string{store.KeyLateVolume + name: ""})
}
