package service

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStale: what was set on the machine since the host's start counts; what is the
// service's own wins, and what is Windows' own is left alone.
func TestStale(t *testing.T) {
	process := map[string]string{"ECS_CLUSTER": "old", "ECS_DATADIR": `C:\data`, "Path": `C:\Windows`, "ECS_LOGLEVEL": "debug"}
	get := func(name string) (string, bool) {
		value, ok := process[name]
		return value, ok
	}
	machine := []Variable{
		{"ECS_CLUSTER", "shop"}, {"ECS_DATADIR", `C:\data`}, {"Path", `D:\`}, {"ecs_loglevel", "info"}, {"https_proxy", "http://p:1"},
		{"AWS_DEFAULT_REGION", "us-west-2"}, {"DOCKER_HOST", ""}, {"ECS", "x"}, {"TEMP", `C:\t`},
	}
	own := variables([]string{"ECS_LOGLEVEL=debug", "NO_PROXY=a=b", "", "=x", "none"})
	if diff := cmp.Diff([]Variable{{"ECS_LOGLEVEL", "debug"}, {"NO_PROXY", "a=b"}}, own); diff != "" {
		t.Error(diff)
	}
	want := []Variable{{"ECS_CLUSTER", "shop"}, {"https_proxy", "http://p:1"}, {"AWS_DEFAULT_REGION", "us-west-2"}, {"DOCKER_HOST", ""}}
	if diff := cmp.Diff(want, stale(get, machine, own)); diff != "" {
		t.Error(diff)
	}
	for _, v := range want {
		process[v.Name] = v.Value
	}
	if again := stale(get, machine, own); len(again) > 0 {
		t.Errorf("still %q", again)
	}
}
