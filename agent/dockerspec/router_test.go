package dockerspec

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/task"
)

// logging is a task in which app logs to router.
func logging(mode, options string) (*task.Spec, *task.State) {
	spec := &task.Spec{
		ARN: testARN, Family: "f", Version: "1", NetworkMode: mode,
		Containers: []task.Container{
			{Name: "app", Image: "i", DockerHostConfig: `{"LogConfig":{"Type":"awsfirelens","Config":` + options + `}}`, Environment: map[string]string{"FLUENT_PORT": "1"}},
			{Name: "router", Image: "i", FireLens: &task.FireLens{Type: task.FluentD}, Environment: map[string]string{"FLUENT_UID": "5"}},
		},
	}
	st := &task.State{Containers: []task.ContainerState{{DockerName: "a"}, {DockerName: "r", Networks: []task.Network{{Name: "mine", IPv4: "10.0.0.1"}, {Name: "bridge", IPv4: "172.17.0.9"}}}}}
	if mode == "awsvpc" {
		spec.Containers = append(spec.Containers, task.Container{Name: "~internal~ecs~pause", Type: task.CNIPause})
		st.Containers = append(st.Containers, task.ContainerState{RuntimeID: "net"})
	}
	return spec, st
}

func fireLensEnv() Env {
	env := linuxEnv()
	env.FireLens = FireLens{Dir: "/host/firelens", Async: true}
	return env
}

// fluent are the variables that say where to log.
func fluent(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return !strings.HasPrefix(kv, "FLUENT_") })
}

func TestRoutedLogs(t *testing.T) {
	id := (&task.Spec{ARN: testARN}).ID()
	plain := map[string]string{
		"tag": "app-firelens-" + id, "fluentd-address": "unix:///host/firelens/" + id + "/socket/fluent.sock",
		"fluentd-sub-second-precision": "true", "fluentd-async": "true",
	}
	limited := map[string]string{"fluentd-buffer-limit": "1048576", "fluentd-async-connect": "false"}
	for k, v := range plain {
		if k != "fluentd-async" {
			limited[k] = v
		}
	}
	for _, tt := range []struct {
		name, mode, options string
		env                 func(*Env)
		in                  Inputs
		want                map[string]string
		fluent              []string
	}{
		{name: "bridge", mode: "bridge", options: `{"Name":"es","mode":"non-blocking"}`, want: plain, fluent: []string{"FLUENT_HOST=172.17.0.9", "FLUENT_PORT=24224"},
			in: Inputs{LogOptions: map[string]string{"apikey": "secret"}}},
		{name: "awsvpc", mode: "awsvpc", options: "null", want: plain, fluent: []string{"FLUENT_HOST=127.0.0.1", "FLUENT_PORT=24224"}},
		{name: "host", mode: "host", options: "null", want: plain, fluent: []string{"FLUENT_PORT=1"}},
		{name: "limit and an old engine", mode: "none", options: `{"log-driver-buffer-limit":"1048576"}`, want: limited, fluent: []string{"FLUENT_PORT=1"},
			env: func(e *Env) { e.FireLens.Async, e.FireLens.OldEngine = false, true }},
	} {
		spec, st := logging(tt.mode, tt.options)
		env := fireLensEnv()
		if tt.env != nil {
			tt.env(&env)
		}
		req, err := Build(spec, 0, st, tt.in, env)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if req.HostConfig.LogConfig.Type != "fluentd" {
			t.Errorf("%s: driver %s", tt.name, req.HostConfig.LogConfig.Type)
		}
		if diff := cmp.Diff(tt.want, req.HostConfig.LogConfig.Config); diff != "" {
			t.Errorf("%s: options %s", tt.name, diff)
		}
		if got := fluent(req.Config.Env); !slices.Equal(got, tt.fluent) {
			t.Errorf("%s: variables %q, want %q", tt.name, got, tt.fluent)
		}
	}
}

func TestFireLensContainer(t *testing.T) {
	spec, st := logging("bridge", "null")
	in := Inputs{Binds: []string{"/host/x:/y"}, Secrets: map[string]string{"apikey_0": "secret"}}
	for kind, want := range map[string]string{task.FluentD: "FLUENT_UID=0", task.FluentBit: "FLUENT_UID=5"} {
		spec.Containers[1].FireLens.Type = kind
		req, err := Build(spec, 1, st, in, fireLensEnv())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(req.Config.Env, want) || !slices.Contains(req.Config.Env, "apikey_0=secret") || !slices.Equal(req.HostConfig.Binds, in.Binds) {
			t.Errorf("%s: %q, %q", kind, req.Config.Env, req.HostConfig.Binds)
		}
	}
}

func TestRoutedLogErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*task.Spec, *task.State, *Env)
		want string
	}{
		"no FireLens container": {func(s *task.Spec, _ *task.State, _ *Env) { s.Containers[1].FireLens = nil }, "CannotCreateContainerError: log driver awsfirelens: the task has no FireLens container"},
		"not on this host":      {func(_ *task.Spec, _ *task.State, e *Env) { e.FireLens.Dir = "" }, "CannotCreateContainerError: log driver awsfirelens: there is no FireLens on this container instance"},
		"no address":            {func(_ *task.Spec, st *task.State, _ *Env) { st.Containers[1].Networks = st.Containers[1].Networks[:1] }, "DockerClientConfigError: unable to get BridgeIP for task in bridge mode"},
	} {
		spec, st := logging("bridge", "null")
		env := fireLensEnv()
		tt.edit(spec, st, &env)
		if _, err := Build(spec, 0, st, Inputs{}, env); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}
