package app

import (
	"os"
	"slices"
	"strings"
	"testing"

	"ecsagent/agent/config"
	"ecsagent/agent/dockerspec"
	"ecsagent/agent/engine"
	"ecsagent/agent/platform"
	"ecsagent/agent/task"
)

// TestHostDir: what the Docker daemon is told to mount is where it finds the agent's
// data; socket and log driver name the same place.
func TestHostDir(t *testing.T) {
	for environ, dir := range map[string]string{"": "/var/lib/ecs/data/firelens", "ECS_HOST_DATA_DIR=/elsewhere": "/elsewhere/data/firelens"} {
		cfg, _, err := config.Load(t.Context(), config.Sources{
			GOOS: "linux", Environ: []string{environ, "AWS_DEFAULT_REGION=eu-west-1", "ECS_DATADIR=/var/lib/ecs/data"},
			ReadFile: func(string) ([]byte, error) { return nil, os.ErrNotExist }, Exists: func(string) bool { return false },
		})
		if err != nil {
			t.Fatal(err)
		}
		in := &task.Spec{
			ARN: "arn:aws:ecs:eu-west-1:1:task/prod/t", Family: "f", NetworkMode: "host",
			Containers: []task.Container{
				{Name: "app", Image: "app", DockerHostConfig: `{"LogConfig":{"Type":"awsfirelens","Config":{"@type":"null"}}}`},
				{Name: "router", Image: "router", FireLens: &task.FireLens{Type: task.FluentD}},
			},
		}
		hooks := Previews(cfg, "linux")
		spec, reason := engine.Acceptance(task.Intake{}, hooks, nil, in)
		if reason != "" {
			t.Fatal(reason)
		}
		st := &task.State{Containers: make([]task.ContainerState, 2)}
		env := Mapping(cfg, platform.Host{}, "linux", "prod")
		for i := range spec.Containers {
			request, err := dockerspec.Build(spec, i, st, engine.Preview(hooks, spec, spec.Containers[i].Name), env)
			if err != nil {
				t.Fatal(err)
			}
			if want := "unix://" + dir + "/t/socket/fluent.sock"; i == 0 && request.HostConfig.LogConfig.Config["fluentd-address"] != want {
				t.Errorf("%q: log %v, want %s", environ, request.HostConfig.LogConfig, want)
			}
			if want := dir + "/t/socket/:/var/run/"; i == 1 && !slices.Contains(request.HostConfig.Binds, want) {
				t.Errorf("%q: binds %q, want %s", environ, request.HostConfig.Binds, want)
			}
		}
		if _, reason := engine.Acceptance(task.Intake{}, Previews(cfg, "windows"), nil, in); !strings.HasSuffix(reason, "FireLens is not supported on this container instance: it takes Linux") {
			t.Errorf("on Windows: %q", reason)
		}
		if _, err := dockerspec.Build(spec, 0, st, dockerspec.Inputs{}, Mapping(cfg, platform.Host{}, "windows", "prod")); err == nil {
			t.Error("on Windows the log is sent to a FireLens container")
		}
	}
}
