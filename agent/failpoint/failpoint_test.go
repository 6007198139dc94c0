package failpoint

import (
	"maps"
	"slices"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	got, err := parse("store.state.before=kill@2;docker.created.after=delay:300ms;acs.send.before=error")
	want := map[string]rule{
		"store.state.before":   {action: actionKill, nth: 2},
		"docker.created.after": {action: actionDelay, delay: 300 * time.Millisecond},
		"acs.send.before":      {action: actionError},
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{
		"store.state.before", "store.nothing.before=kill", "store.state.before=explode",
		"store.state.before=kill@0", "store.state.before=kill@x", "store.state.before=delay:long",
	} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestParseLimits(t *testing.T) {
	got, err := parseLimits("network.set-up=2s;network.tear-down=1500ms")
	if want := map[string]time.Duration{"network.set-up": 2 * time.Second, "network.tear-down": 1500 * time.Millisecond}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"network.set-up", "network.set-up=long", "network.other=1s"} {
		if _, err := parseLimits(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	all := All()
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
		t.Errorf("%d names, %d different", len(all), n)
	}
}
