package firelens

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"ecsagent/agent/task"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	id  = "0123456789abcdef0123456789abcdef"
	arn = "arn:aws:ecs:eu-west-1:111122223333:task/demo/" + id
)

// shop is a task with a FireLens container behind two others.
func shop(kind, mode string, options map[string]string) *task.Spec {
	return &task.Spec{
		ARN: arn, Family: "shop", Version: "3", NetworkMode: mode, ExecutionCredentialsID: "role",
		Containers: []task.Container{
			sender("app", `{"Name":"es","@type":"es","region":"eu-west-1","include-pattern":"ERROR","log-driver-buffer-limit":"1048576"}`,
				task.Secret{Name: "apikey", ValueFrom: "key", Provider: "ssm", Type: "BOOTSTRAP", Target: "LOG_DRIVER"},
				task.Secret{Name: "PASSWORD", ValueFrom: "password", Provider: "ssm", Type: "ENVIRONMENT_VARIABLE", Target: "LOG_DRIVER"}),
			{Name: "plain", DockerHostConfig: `{"LogConfig":{"Type":"json-file","Config":{"max-size":"1m"}}}`},
			{Name: "log_router", Memory: 64, FireLens: &task.FireLens{Type: kind, Options: options}},
		},
	}
}

func sender(name, options string, secrets ...task.Secret) task.Container {
	return task.Container{Name: name, DockerHostConfig: `{"LogConfig":{"Type":"awsfirelens","Config":` + options + `}}`, Secrets: secrets}
}

// without takes an option out that is the other program's.
func without(spec *task.Spec, plugin string) *task.Spec {
	text := map[string]string{
		"Name":  `{"@type":"es","region":"eu-west-1","include-pattern":"ERROR","log-driver-buffer-limit":"1048576"}`,
		"@type": `{"Name":"es","region":"eu-west-1","include-pattern":"ERROR","log-driver-buffer-limit":"1048576"}`,
	}[plugin]
	spec.Containers[0].DockerHostConfig = sender("", text).DockerHostConfig
	return spec
}

// The configurations of both programs. That of fluentbit-bridge.conf is the worked example
// of docs/spec/02 section 7.6.
func TestConfigurations(t *testing.T) {
	file := map[string]string{"config-file-type": "file", "config-file-value": "/extra.conf"}
	object := map[string]string{"config-file-type": "s3", "config-file-value": "arn:aws:s3:::b/k"}
	bit, d := task.FluentBit, task.FluentD
	many := func(s *task.Spec) *task.Spec {
		s.Containers[2].Environment = map[string]string{"AWS_EXECUTION_ENV": "AWS_ECS_EC2"}
		s.Containers[2].DockerHostConfig = `{"MemoryReservation":104857600}`
		s.Containers[0].DockerHostConfig = sender("", `{"include-pattern":"^[a-z] .*$","exclude-pattern":"DEBUG"}`).DockerHostConfig
		s.Containers[0].Secrets = nil
		plugin := `{"` + kinds[s.Containers[2].FireLens.Type].plugin + `":"out","exclude-pattern":"noise"`
		s.Containers = append(s.Containers,
			task.Container{Name: "~internal~ecs~pause", Type: task.CNIPause},
			sender("side-car", plugin+`,"z":"1","Alpha":"2","@id":"3"}`, task.Secret{Name: "token", Target: "LOG_DRIVER"}),
			sender("silent", `null`))
		return s
	}
	for name, spec := range map[string]*task.Spec{
		"fluentbit-bridge": without(shop(bit, "bridge", file), "@type"),
		"fluentbit-awsvpc": many(shop(bit, "awsvpc", object)),
		"fluentbit-host":   without(shop(bit, "host", map[string]string{"enable-ecs-log-metadata": "false"}), "@type"),
		"fluentd-bridge":   without(shop(d, "bridge", file), "Name"),
		"fluentd-awsvpc":   many(shop(d, "awsvpc", object)),
		"fluentd-host":     without(shop(d, "host", map[string]string{"enable-ecs-log-metadata": "maybe"}), "Name"),
	} {
		p, err := planOf(spec, identity{cluster: "demo", instanceID: "i-1"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		golden := filepath.Join("testdata", name+".conf")
		got := kinds[p.kind].write(&p)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestBuffer(t *testing.T) {
	for _, tt := range []struct {
		soft string
		hard int64
		want int64
	}{{"", 0, 25}, {"", 64, 32}, {`{"MemoryReservation":33554432}`, 64, 16}, {`{"MemoryReservation":1048576}`, 0, 1}, {`{"MemoryReservation":0}`, 51, 25}, {"{", 10, 5}} {
		if got := bufferOf(&task.Container{Memory: tt.hard, DockerHostConfig: tt.soft}); got != tt.want {
			t.Errorf("%q and %d MiB: %d MiB, want %d", tt.soft, tt.hard, got, tt.want)
		}
	}
}

func TestMetadataOption(t *testing.T) {
	for value, want := range map[string]bool{"true": true, "false": false, "1": true, "nonsense": false, "": false} {
		c := task.Container{FireLens: &task.FireLens{Options: map[string]string{optionMetadata: value}}}
		if got := addsMetadata(&c); got != want {
			t.Errorf("%q is %t", value, got)
		}
	}
	if !addsMetadata(&task.Container{FireLens: &task.FireLens{}}) {
		t.Error("off without the option")
	}
}
