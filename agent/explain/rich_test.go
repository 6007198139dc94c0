package explain

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/engine"
	"ecsagent/agent/resource/cgroup"
	"ecsagent/agent/task"
)

var update = flag.Bool("update", false, "write the golden files and docs/errors.md")

// settings are those of a host with GPUs, so that everything of the rich task shows.
func settings(os string) Settings {
	var hooks []engine.Hook
	if os == "linux" {
		hooks = append(hooks, cgroup.Hook{})
	}
	return Settings{
		Hooks:  hooks,
		Intake: task.Intake{GPUSupport: true}, StopTimeout: 30 * time.Second,
		Env: dockerspec.Env{
			OS: os, CPUs: 4, Cluster: "demo", Region: "eu-west-1",
			GPU: dockerspec.GPU{Enabled: true, Runtime: "nvidia"},
		},
	}
}

func explainFile(t *testing.T, name, os string) Task {
	t.Helper()
	raws, err := Read(read(t, name))
	if err != nil || len(raws) != 1 {
		t.Fatalf("%d tasks in %s, error %v", len(raws), name, err)
	}
	return Explain(t.Context(), raws[0], settings(os))
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(read(t, name)), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// The rich task is what ecs-local renders of a definition with every setting that
// needs no resource of its own.
func TestRichGolden(t *testing.T) {
	for _, os := range []string{"linux", "windows"} {
		explained := explainFile(t, "testdata/rich.json", os)
		if reasons := explained.Reasons(); len(reasons) > 0 {
			t.Fatalf("%s: %q", os, reasons)
		}
		var out, text bytes.Buffer
		if err := WriteJSON(&out, []Task{explained}); err != nil {
			t.Fatal(err)
		}
		if err := WriteText(&text, &explained); err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/rich."+os+".golden.json", out.Bytes())
		golden(t, "testdata/rich."+os+".golden.txt", text.Bytes())
	}
}

// TestSharedGolden is a task whose containers share namespaces: what its pause container
// is, and in which order everything starts and stops.
func TestSharedGolden(t *testing.T) {
	raws, err := Read(read(t, "testdata/shared.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := settings("linux")
	s.Intake.Pause = task.Pause{Image: "amazon/amazon-ecs-pause:0.1.0", Labels: map[string]string{"team": "blue"}}
	explained := Explain(t.Context(), raws[0], s)
	if reasons := explained.Reasons(); len(reasons) > 0 {
		t.Fatal(reasons)
	}
	var text bytes.Buffer
	if err := WriteText(&text, &explained); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/shared.golden.txt", text.Bytes())
}

// field is what one attribute of the definition (docs/spec/02 section 4.2) becomes.
type field struct {
	attributes string // as the specification names them
	path       string // of the create body
	linux      string // JSON; empty: the member is absent
	windows    string // JSON; "=" is as on Linux
}

var fields = []field{
	{"image", "Image", `"111122223333.dkr.ecr.eu-west-1.amazonaws.com/app:1"`, "="},
	{"command", "Cmd", `["exec app"]`, "="},
	{"entryPoint", "Entrypoint", `["/bin/sh","-c"]`, "="},
	{"environment", "Env", `["A=1","AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/00000000-0000-0000-0000-0000000000a1",` +
		`"AWS_DEFAULT_REGION=eu-west-1","AWS_EXECUTION_ENV=AWS_ECS_EC2","AWS_REGION=eu-west-1",` +
		`"ECS_AGENT_URI=http://169.254.170.2/api/<uuid>","ECS_CONTAINER_METADATA_URI=http://169.254.170.2/v3/<uuid>",` +
		`"ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2/v4/<uuid>","EMPTY=","NVIDIA_VISIBLE_DEVICES=GPU-0,GPU-1"]`, "="},
	{"user", "User", `"1000:1000"`, "="},
	{"workingDirectory", "WorkingDir", `"/srv"`, "="},
	{"hostname", "Hostname", `"box"`, "="},
	{"dockerLabels", "Labels.team", `"blue"`, "="},
	{"", "Labels.com.amazonaws.ecs.cluster", `"demo"`, "="},
	{"", "Labels.com.amazonaws.ecs.container-name", `"app_main"`, "="},
	{"", "Labels.com.amazonaws.ecs.task-definition-family", `"rich"`, "="},
	{"", "Labels.com.amazonaws.ecs.task-definition-version", `"1"`, "="},
	{"", "Labels.com.amazonaws.ecs.task-arn", `"arn:aws:ecs:us-east-1:000000000000:task/default/00000000000000000000000000000000"`, "="},
	{"interactive", "OpenStdin", "true", "="},
	{"pseudoTerminal", "Tty", "true", "="},
	{"disableNetworking", "NetworkDisabled", "", "="},
	{"healthCheck", "Healthcheck", `{"Interval":10000000000,"Retries":4,"StartPeriod":15000000000,"Test":["CMD-SHELL","probe"],"Timeout":2000000000}`, "="},
	{"portMappings", "ExposedPorts", `{"443/tcp":{},"53/udp":{},"80/tcp":{},"9000/tcp":{},"9001/tcp":{},"9002/tcp":{}}`, "="},
	{"", "HostConfig.PortBindings", `{"443/tcp":[{"HostPort":"<port>"}],"53/udp":[{"HostPort":"<port>"}],"80/tcp":[{"HostPort":"8080"}],` +
		`"9000/tcp":[{"HostPort":"<port>"}],"9001/tcp":[{"HostPort":"<port>+1"}],"9002/tcp":[{"HostPort":"<port>+2"}]}`, "="},
	{"cpu", "HostConfig.CpuShares", "512", ""},
	{"", "HostConfig.CpuPercent", "", "12"},
	{"memory", "HostConfig.Memory", "536870912", "="},
	{"", "HostConfig.CgroupParent", `"<cgroup of the task>"`, ""}, // cpu and memory of the task
	{"memoryReservation", "HostConfig.MemoryReservation", "134217728", "="},
	{"links", "HostConfig.Links", `["ecs-rich-1-cache-<hex>:kv","ecs-rich-1-cache-<hex>:cache"]`, "="},
	{"volumesFrom", "HostConfig.VolumesFrom", `["ecs-rich-1-init-<hex>:ro"]`, "="},
	{"mountPoints", "HostConfig.Binds", `["/srv/data:/data:ro","ecs-rich-1-scratch-<hex>:/scratch","ecs-rich-1-own-<hex>:/own","common:/common","there:/there"]`,
		`["\\srv\\data:\\data:ro","ecs-rich-1-scratch-<hex>:\\scratch","ecs-rich-1-own-<hex>:\\own","common:\\common","there:\\there"]`},
	{"extraHosts", "HostConfig.ExtraHosts", `["db:192.0.2.7"]`, "="},
	{"dnsServers", "HostConfig.Dns", `["192.0.2.53"]`, "="},
	{"dnsSearchDomains", "HostConfig.DnsSearch", `["internal.example"]`, "="},
	{"ulimits", "HostConfig.Ulimits", `[{"Hard":4096,"Name":"nofile","Soft":1024}]`, "="},
	{"privileged", "HostConfig.Privileged", "true", "="},
	{"readonlyRootfilesystem", "HostConfig.ReadonlyRootfs", "true", "="},
	{"dockerSecurityOptions", "HostConfig.SecurityOpt", `["no-new-privileges"]`, "="},
	{"linuxParameters.capabilities", "HostConfig.CapAdd", `["NET_ADMIN","SYS_PTRACE"]`, "="},
	{"", "HostConfig.CapDrop", `["MKNOD"]`, "="},
	{"devices", "HostConfig.Devices", `[{"CgroupPermissions":"rm","PathInContainer":"/dev/fuse","PathOnHost":"/dev/fuse"},` +
		`{"CgroupPermissions":"rwm","PathInContainer":"/dev/b","PathOnHost":"/dev/a"}]`, "="},
	{"initProcessEnabled", "HostConfig.Init", "true", "="},
	{"sharedMemorySize", "HostConfig.ShmSize", "67108864", "="},
	{"tmpfs", "HostConfig.Tmpfs", `{"/run":"size=16m,noexec,nosuid"}`, "="},
	{"maxSwap", "HostConfig.MemorySwap", "805306368", "="},
	{"swappiness", "HostConfig.MemorySwappiness", "10", "="},
	{"systemControls", "HostConfig.Sysctls", `{"net.core.somaxconn":"1024"}`, "="},
	{"logConfiguration", "HostConfig.LogConfig", `{"Config":{"awslogs-credentials-endpoint":"/v2/credentials/00000000-0000-0000-0000-0000000000e1",` +
		`"awslogs-group":"rich","awslogs-region":"eu-west-1","max-buffer-size":"10m","mode":"non-blocking"},"Type":"awslogs"}`, "="},
	{"resourceRequirements", "HostConfig.Runtime", `"nvidia"`, "="},
	{"pidMode", "HostConfig.PidMode", `"host"`, ""},
	{"ipcMode", "HostConfig.IpcMode", `"host"`, ""},
	{"", "HostConfig.NetworkMode", `"bridge"`, `"nat"`},
	// Restarts are the agent's own business.
	{"", "HostConfig.RestartPolicy", "", "="},
	// The last container of the definition switches the init process off.
	{"", "init/HostConfig.Init", "false", "="},
	{"", "init/HostConfig.Memory", "", "="},
	{"", "init/HostConfig.CpuShares", "2", ""},
	{"", "init/HostConfig.CpuPercent", "", "1"},
}

func TestRichFields(t *testing.T) {
	for _, os := range []string{"linux", "windows"} {
		bodies := map[string]map[string]any{}
		explained := explainFile(t, "testdata/rich.json", os)
		for _, c := range explained.Containers {
			bodies[c.Name] = plain(t, c.Create.Body)
		}
		for _, f := range fields {
			container, path, ok := strings.Cut(f.path, "/")
			if !ok {
				container, path = "app_main", f.path
			}
			want := f.linux
			if os == "windows" && f.windows != "=" {
				want = f.windows
			}
			if got := at(t, bodies[container], path); got != want {
				t.Errorf("%s: %s is %s, want %s", os, f.path, got, want)
			}
		}
	}
}

// plain is the body as Docker reads it.
func plain(t *testing.T, body map[string]any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// at is a member as JSON, empty when it is absent. Names of labels have dots.
func at(t *testing.T, body map[string]any, path string) string {
	t.Helper()
	first, rest, nested := strings.Cut(path, ".")
	v, ok := body[path]
	if !ok && nested {
		inner, _ := body[first].(map[string]any)
		return at(t, inner, rest)
	}
	if !ok {
		return ""
	}
	raw, err := encode(v, "")
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		t.Fatal(err)
	}
	return compact.String()
}

// elsewhere are the attributes of the specification's table that the rich task cannot
// show, and why.
var elsewhere = map[string]string{
	"environmentFiles": "needs a resource", "secrets": "needs a resource", "credentialSpecs": "needs a resource",
	"credentialspec…": "needs a resource",
	"startTimeout":    "the order shows it", "stopTimeout": "the order shows it", "dependsOn": "the order shows it", "essential": "the container shows it",
}

// Every attribute of the specification's table is in fields or elsewhere.
func TestRichIsComplete(t *testing.T) {
	have := map[string]bool{}
	for _, f := range fields {
		have[f.attributes] = true
	}
	rows := table(t, "### 4.2 Attribute table")
	if len(rows) < 20 {
		t.Fatalf("found %d rows", len(rows))
	}
	for _, row := range rows {
		for _, m := range codeSpan.FindAllStringSubmatch(row[0], -1) {
			if !have[m[1]] && elsewhere[m[1]] == "" {
				t.Errorf("attribute %s is not shown", m[1])
			}
		}
	}
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// table reads the Markdown table under a heading of docs/spec/02, without its head.
func table(t *testing.T, heading string) [][]string {
	t.Helper()
	text := string(read(t, filepath.Join("..", "..", "docs", "spec", "02-task-engine.md")))
	_, text, found := strings.Cut(text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("no heading %q", heading)
	}
	var rows [][]string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") || line == "" && len(rows) > 0 {
			break
		}
		if strings.HasPrefix(line, "|") {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	if len(rows) < 3 {
		t.Fatalf("no table under %q", heading)
	}
	return rows[2:]
}
