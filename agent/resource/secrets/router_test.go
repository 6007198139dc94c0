package secrets

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"ecsagent/agent/task"
)

// Secret log options of containers that log to a FireLens container are its variables,
// and are fetched as long as it needs them.
func TestRoutedOptions(t *testing.T) { synctest.Test(t, testRoutedOptions) }

func testRoutedOptions(t *testing.T) {
	c := &cloud{parameters: map[string]string{"a": "one", "b": "two", "k": "three"}}
	s := taskOf(
		[]task.Secret{variable("A", "a"), option("apikey", "k")},
		nil,
		[]task.Secret{option("apikey", "b")},
		[]task.Secret{option("tag", "a")},
	)
	s.Containers[0].DockerHostConfig = `{"LogConfig":{"Type":"awsfirelens"}}`
	s.Containers[1].FireLens = &task.FireLens{Type: task.FluentBit}
	s.Containers[2].DockerHostConfig = `{"LogConfig":{"Type":"awsfirelens"}}`
	h := NewSSM(c.options())
	needs, err := h.Needs(s.Spec)
	if want := []string{"c0", "c1", "c3"}; err != nil || !slices.Equal(needs[0].Containers, want) {
		t.Errorf("%v wait for it (%v), want %v", needs[0].Containers, err, want)
	}
	for _, tt := range []struct {
		name string
		run  []int // containers that have run already
		want map[string]map[string]string
		call []string
	}{
		{"all", nil, map[string]map[string]string{"c0": {"A": "one"}, "c1": {"apikey_0": "three", "apikey_2": "two"}, "c3": {"log tag": "one"}},
			[]string{"eu-west-1 GetParameters a k b"}},
		{"the router runs", []int{1}, map[string]map[string]string{"c0": {"A": "one"}, "c1": {"apikey_0": "", "apikey_2": ""}, "c3": {"log tag": "one"}},
			[]string{"eu-west-1 GetParameters a"}},
		{"the others run", []int{0, 2, 3}, map[string]map[string]string{"c0": {"A": ""}, "c1": {"apikey_0": "three", "apikey_2": "two"}, "c3": {"log tag": ""}},
			[]string{"eu-west-1 GetParameters k b"}},
	} {
		for i := range s.State.Containers {
			s.State.Containers[i].Known = task.ContainerCreated
			if slices.Contains(tt.run, i) {
				s.State.Containers[i].Known = task.ContainerRunning
			}
		}
		got, err := provision(t, NewSSM(c.options()), s)
		if err != nil || len(got["c2"]) != 0 {
			t.Errorf("%s: c2 got %v (%v)", tt.name, got["c2"], err)
		}
		for name, want := range tt.want {
			if !maps.Equal(got[name], want) {
				t.Errorf("%s: %s got %v, want %v", tt.name, name, got[name], want)
			}
		}
		if calls := c.told(); !slices.Equal(calls, tt.call) {
			t.Errorf("%s: calls %q, want %q", tt.name, calls, tt.call)
		}
	}
}
