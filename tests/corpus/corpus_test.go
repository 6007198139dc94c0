package corpus

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/app"
	"ecsagent/agent/config"
	"ecsagent/agent/explain"
	"ecsagent/agent/pause"
	"ecsagent/agent/platform"
	"ecsagent/agent/task"
	"ecsagent/controlplane/local/cli"
)

var update = flag.Bool("update", false, "write the golden files")

// TestCorpus takes each definition through the validation and the rendering of the local
// ECS, and then to what an agent makes of it.
func TestCorpus(t *testing.T) {
	names := Names()
	if len(names) < 25 {
		t.Fatalf("%d definitions", len(names))
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			golden(t, filepath.Join("definitions", name+".golden"), outcome(t, name))
		})
	}
	for _, r := range Runs {
		if !slices.Contains(names, r.Name) {
			t.Errorf("%s is to be run, and is not there", r.Name)
		}
	}
}

// outcome is what a definition becomes.
func outcome(t *testing.T, name string) []byte {
	t.Helper()
	var rendered, refused bytes.Buffer
	env := cli.Environment{Out: &rendered, Err: &refused, Getenv: func(string) string { return "" }, Version: "0"}
	if code := cli.Main(t.Context(), env, []string{"render", filepath.Join("definitions", name+".json")}); code != cli.ExitOK {
		return append([]byte("refused by ECS:\n"), refused.Bytes()...)
	}
	raws, err := explain.Read(withAttachments(t, rendered.Bytes()))
	if err != nil || len(raws) != 1 {
		t.Fatalf("%d tasks: %v", len(raws), err)
	}
	osType := "linux"
	if text, err := Read(name); err == nil && bytes.Contains(text, []byte("WINDOWS_SERVER")) {
		osType = "windows"
	}
	explained := explain.Explain(t.Context(), raws[0], settings(t, osType))
	var text bytes.Buffer
	if reasons := explained.Reasons(); len(reasons) > 0 {
		text.WriteString("refused by the agent:\n" + strings.Join(reasons, "\n") + "\n\n")
	}
	if err := explain.WriteText(&text, &explained); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// withAttachments gives a task what ECS attaches for it when it is placed: an interface in
// mode awsvpc, and the volumes that are configured at launch.
func withAttachments(t *testing.T, rendered []byte) []byte {
	t.Helper()
	var spec map[string]any
	if err := json.Unmarshal(rendered, &spec); err != nil {
		t.Fatal(err)
	}
	if spec["networkMode"] == "awsvpc" {
		spec["elasticNetworkInterfaces"] = []map[string]any{{
			"attachmentArn": "arn:aws:ecs:us-west-2:111122223333:attachment/1", "ec2Id": "eni-1", "macAddress": "02:00:00:00:00:01",
			"ipv4Addresses": []map[string]any{{"primary": true, "privateAddress": "10.0.0.5"}}, "subnetGatewayIpv4Address": "10.0.0.1/24",
		}}
	}
	var attachments []map[string]any
	for _, v := range spec["volumes"].([]any) {
		if v := v.(map[string]any); v["type"] == nil {
			attachments = append(attachments, map[string]any{
				"attachmentArn": "arn:aws:ecs:us-west-2:111122223333:attachment/2", "attachmentType": "amazonebs", "attachmentProperties": []map[string]any{
					{"name": "volumeId", "value": "vol-1"}, {"name": "volumeName", "value": v["name"]}, {"name": "sourceVolumeHostPath", "value": "task_vol-1"},
					{"name": "volumeSizeGib", "value": "20"}, {"name": "deviceName", "value": "/dev/xvdba"}, {"name": "fileSystem", "value": "xfs"},
				},
			})
		}
	}
	if attachments != nil {
		spec["attachments"] = attachments
	}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// settings are those of an agent of an EC2 instance with a GPU, wherever this runs.
func settings(t *testing.T, osType string) explain.Settings {
	t.Helper()
	cfg, _, err := config.Load(context.Background(), config.Sources{
		GOOS: osType, ReadFile: func(string) ([]byte, error) { return nil, os.ErrNotExist }, Exists: func(string) bool { return false },
		Environ: []string{"AWS_DEFAULT_REGION=us-west-2", "ECS_CLUSTER=demo", "ECS_ENABLE_GPU_SUPPORT=true", "ECS_ENABLE_TASK_ENI=true", "ECS_ENABLE_TASK_IAM_ROLE=true", "ECS_GMSA_SUPPORTED=true",
			`ECS_AVAILABLE_LOGGING_DRIVERS=["json-file","awslogs","splunk","fluentd","gelf","journald","syslog","none"]`},
	})
	if err != nil {
		t.Fatal(err)
	}
	host := platform.Host{OSType: osType, CPUs: 4, MemoryMiB: 8192, CgroupVersion: 2}
	return explain.Settings{
		Intake: task.Intake{GPUSupport: true, Pause: task.Pause{Image: pause.Image}}, Hooks: app.Previews(cfg, osType),
		Network: app.PreviewNetwork(cfg, osType), Env: app.Mapping(cfg, host, osType, "demo"), StopTimeout: cfg.ContainerStopTimeout,
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
