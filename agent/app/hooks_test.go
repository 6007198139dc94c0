package app

import (
	"slices"
	"testing"

	"ecsagent/agent/config"
	"ecsagent/agent/dockerspec"
	"ecsagent/agent/engine"
	"ecsagent/agent/task"
)

// TestPreviews: without an agent, what it would fetch stands as placeholders.
func TestPreviews(t *testing.T) {
	hooks := Previews(&config.Config{}, "linux")
	in := &task.Spec{
		ARN: "arn:aws:ecs:us-west-2:1:task/prod/t", Family: "f", NetworkMode: "bridge", ExecutionCredentialsID: "role",
		Containers: []task.Container{{
			Name: "app", Image: "app", Essential: true, Environment: map[string]string{"PLAIN": "plain"},
			Secrets: []task.Secret{
				{Name: "DB", ValueFrom: "/prod/db", Provider: "ssm", Type: "ENVIRONMENT_VARIABLE"},
				{Name: "tag", ValueFrom: "arn:aws:secretsmanager:us-west-2:1:secret:tag", Provider: "asm", Type: "BOOTSTRAP", Target: "LOG_DRIVER"},
			},
			EnvFiles: []task.EnvFile{{Value: "arn:aws:s3:::b/k", Type: "s3"}},
		}},
	}
	spec, reason := engine.Acceptance(task.Intake{}, hooks, nil, in)
	if reason != "" {
		t.Fatal(reason)
	}
	var names []string
	for i := range spec.Resources {
		names = append(names, spec.Resources[i].Name)
	}
	if want := []string{"ssmsecret", "asmsecret", "envfile_app"}; !slices.Equal(names, want) {
		t.Errorf("resources %q, want %q", names, want)
	}
	st := &task.State{Containers: make([]task.ContainerState, 1)}
	request, err := dockerspec.Build(spec, 0, st, engine.Preview(hooks, spec, "app"), dockerspec.Env{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PLAIN=plain", "DB=<value of /prod/db>", "<variables of arn:aws:s3:::b/k>=<values>"} {
		if !slices.Contains(request.Config.Env, want) {
			t.Errorf("environment %q lacks %s", request.Config.Env, want)
		}
	}
	if got := request.HostConfig.LogConfig.Config["tag"]; got != "<value of arn:aws:secretsmanager:us-west-2:1:secret:tag>" {
		t.Errorf("log option %q", got)
	}
}
