package task

import (
	"reflect"
	"testing"
)

// edges are the dependencies of each container of an accepted task.
func edges(t *testing.T, spec *Spec) map[string][]Dependency {
	t.Helper()
	accepted, reason := Intake{Pause: Pause{Image: "pause"}}.Accept(spec)
	if reason != "" {
		t.Fatal(reason)
	}
	again, reason := Intake{Pause: Pause{Image: "pause"}}.Accept(accepted)
	if reason != "" || !reflect.DeepEqual(accepted, again) {
		t.Errorf("accepting it again: %s, %+v", reason, again)
	}
	all := make(map[string][]Dependency)
	for i := range accepted.Containers {
		all[accepted.Containers[i].Name] = accepted.Containers[i].DependsOn
	}
	return all
}

// Containers that log to the FireLens container start after it, as far as that is
// possible (docs/spec/02 section 3.3).
func TestRouting(t *testing.T) {
	const routed = `{"LogConfig":{"Type":"awsfirelens"}}`
	on := func(name string, c Condition) []Dependency { return []Dependency{{name, c}} }
	for name, tt := range map[string]struct {
		containers []Container
		want       map[string][]Dependency
	}{
		"sender and others": {
			[]Container{{Name: "app", DockerHostConfig: routed}, {Name: "plain"}, {Name: "odd", DockerHostConfig: "{"}, {Name: "router", FireLens: &FireLens{}}},
			map[string][]Dependency{"app": on("router", DependsStart), "plain": nil, "odd": nil, "router": nil},
		},
		"waits anyway": {
			[]Container{{Name: "app", DockerHostConfig: routed, DependsOn: on("router", DependsHealthy)}, {Name: "router", FireLens: &FireLens{}, HealthCheckType: "docker"}},
			map[string][]Dependency{"app": on("router", DependsHealthy), "router": nil},
		},
		"mounts its volumes": {
			[]Container{{Name: "app", DockerHostConfig: routed, VolumesFrom: []VolumeFrom{{SourceContainer: "router"}}}, {Name: "router", FireLens: &FireLens{}}},
			map[string][]Dependency{"app": {{"router", DependsCreate}, {"router", DependsStart}}, "router": nil},
		},
		"waits for others": {
			[]Container{{Name: "init"}, {Name: "app", DockerHostConfig: routed}, {Name: "router", FireLens: &FireLens{}, DependsOn: on("init", DependsSuccess)}},
			map[string][]Dependency{"init": nil, "app": on("router", DependsStart), "router": on("init", DependsSuccess)},
		},
		"waits for a sender": {
			[]Container{
				{Name: "init", DockerHostConfig: routed}, {Name: "between", DependsOn: on("init", DependsComplete)},
				{Name: "app", DockerHostConfig: routed}, {Name: "router", FireLens: &FireLens{}, DependsOn: on("between", DependsStart)},
			},
			map[string][]Dependency{"init": nil, "between": on("init", DependsComplete), "app": on("router", DependsStart), "router": on("between", DependsStart)},
		},
		"logs to itself": {
			[]Container{{Name: "router", DockerHostConfig: routed, FireLens: &FireLens{}}},
			map[string][]Dependency{"router": nil},
		},
		"nobody to log to": {
			[]Container{{Name: "app", DockerHostConfig: routed}},
			map[string][]Dependency{"app": nil},
		},
	} {
		if got := edges(t, &Spec{ARN: "arn", Containers: tt.containers}); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v\nwant %v", name, got, tt.want)
		}
	}
}

func TestRouter(t *testing.T) {
	s := Spec{Containers: []Container{
		{Name: "pause", Type: CNIPause}, {Name: "app", DockerHostConfig: `{"LogConfig":{"Type":"awsfirelens","Config":{"Name":"es"}}}`}, {Name: "plain"},
	}}
	if s.Router() != -1 || s.Routed(1) {
		t.Error("there is no FireLens container")
	}
	s.Containers[2].FireLens = &FireLens{}
	if s.Router() != 2 || !s.Routed(1) || s.Routed(2) || s.Containers[1].LogConfig().Config["Name"] != "es" {
		t.Error("app logs to plain")
	}
	if got := s.RouterVariable(1, "key") + " " + s.RouterVariable(2, "key"); got != "key_0 key_1" {
		t.Errorf("variables %s", got)
	}
	for _, tt := range []struct {
		secret              Secret
		variable, logOption bool
	}{
		{Secret{Type: "ENVIRONMENT_VARIABLE", Target: "LOG_DRIVER"}, true, false},
		{Secret{Type: "BOOTSTRAP", Target: "LOG_DRIVER"}, false, true},
		{Secret{Type: "MOUNT_POINT", Target: "CONTAINER"}, false, false},
	} {
		if tt.secret.IsVariable() != tt.variable || tt.secret.IsLogOption() != tt.logOption {
			t.Errorf("%+v", tt.secret)
		}
	}
}
