package render

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/taskdef"
	"ecsagent/controlplane/wire"
)

var update = flag.Bool("update", false, "write the golden files")

func input(t testing.TB, name, overrides string) Input {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	def, err := taskdef.Read(name, data)
	if err != nil {
		t.Fatal(err)
	}
	d := taskdef.Complete(def)
	d.Revision = 7
	in := Input{
		TaskARN: "arn:aws:ecs:us-east-1:000000000000:task/default/1", ClusterARN: "arn:aws:ecs:us-east-1:000000000000:cluster/default",
		Region: "us-east-1", AccountID: "000000000000", LaunchType: "EC2", Group: "family:all", Definition: &d, Overrides: &api.TaskOverride{},
	}
	for range d.ContainerDefinitions {
		in.ContainerARNs = append(in.ContainerARNs, "arn:aws:ecs:us-east-1:000000000000:container/default/1/x")
	}
	if overrides != "" {
		if err := json.Unmarshal([]byte(overrides), in.Overrides); err != nil {
			t.Fatal(err)
		}
	}
	return in
}

// TestGolden renders a definition that uses every member there is.
func TestGolden(t *testing.T) {
	in := input(t, "all.json", `{"cpu": "512", "executionRoleArn": "arn:aws:iam::1:role/other", "containerOverrides": [
		{"name": "app", "command": ["sleep", "1"], "environment": [{"name": "A", "value": "overridden"}, {"name": "B", "value": "2"}], "memory": 256}]}`)
	in.GPUs = [][]string{{"gpu-a"}, nil, nil}
	task, err := Render(in)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := task.JSON("RUNNING", &wire.RoleCredentials{CredentialsID: "id", RoleARN: in.Definition.TaskRoleARN}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var indented any
	if err := json.Unmarshal(raw, &indented); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(indented, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile("testdata/all.golden", got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/all.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
	if in.Definition.ContainerDefinitions[0].Memory != 512 || len(in.Definition.ContainerDefinitions[0].Environment) != 1 {
		t.Error("overrides have changed the definition")
	}
}

// TestPlain has what the agent's own defaults must not be hidden by.
func TestPlain(t *testing.T) {
	in := input(t, "plain.json", "")
	task, err := Render(in)
	if err != nil {
		t.Fatal(err)
	}
	c := task.Containers[0]
	for name, pair := range map[string][2]string{
		"config":       {c.DockerConfig.Config, "{}"},
		"host config":  {c.DockerConfig.HostConfig, `{"NetworkMode":"bridge","CapAdd":[],"CapDrop":[]}`},
		"overrides":    {c.Overrides, "{}"},
		"network mode": {task.NetworkMode, "bridge"},
		"environment":  {c.Environment["AWS_EXECUTION_ENV"], "AWS_ECS_EC2"},
		"auth":         {c.LogsAuthStrategy + c.HealthCheckType, ""},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %s, want %s", name, pair[0], pair[1])
		}
	}
	raw, err := task.JSON("STOPPED", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"desiredStatus":"STOPPED"`, `"entryPoint":null`, `"command":[]`, `"volumes":[]`, `"portMappings":[{"containerPort":80,"hostPort":0,"protocol":"tcp"}]`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s is not in %s", want, raw)
		}
	}
	for _, not := range []string{"roleCredentials", "executionRoleCredentials", `"cpu":0,"memory":0,"containers"`} {
		if strings.Contains(string(raw), not) {
			t.Errorf("%s is in %s", not, raw)
		}
	}
}

func TestVolumesThatNeedAttachments(t *testing.T) {
	in := input(t, "plain.json", "")
	yes := true
	in.Definition.Volumes = []api.Volume{{Name: "v", ConfiguredAtLaunch: &yes}}
	task, err := Render(in)
	if err != nil {
		t.Fatal(err)
	}
	if got := task.Volumes; len(got) != 1 || got[0] != (Volume{Name: "v"}) {
		t.Errorf("volumes %+v", got) // the attachment has the rest
	}
	in.Definition.Volumes = []api.Volume{{Name: "v", S3Files: &api.S3FilesVolume{FileSystemARN: "arn"}}}
	if _, err := Render(in); err == nil || !strings.Contains(err.Error(), `volume "v" needs an attachment`) {
		t.Errorf("rendered: %v", err)
	}
}
