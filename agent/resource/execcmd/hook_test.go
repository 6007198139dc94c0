package execcmd

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"ecsagent/agent/task"
)

// install lays out the SSM agent in versions, and the certificates.
func install(t *testing.T, dir string, versions ...string) {
	t.Helper()
	write := func(path string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range versions {
		for _, name := range programs {
			write(filepath.Join(dir, binFolder, v, name))
		}
	}
	write(filepath.Join(dir, certsFolder, bundle))
}

func specOf(containers ...task.Container) *task.Spec {
	return &task.Spec{ARN: "arn:aws:ecs:eu-west-1:111122223333:task/demo/0123", Containers: containers}
}

func exec(name string, properties map[string]string) task.Container {
	return task.Container{Name: name, ManagedAgents: []task.ManagedAgent{{Name: task.ExecAgentName, Properties: properties}}}
}

func provision(t *testing.T, h *Hook, spec *task.Spec) (r task.Resource, binds map[string][]string, agents map[string]task.AgentSetup) {
	t.Helper()
	list, err := h.Needs(spec)
	if err != nil || len(list) != 1 {
		t.Fatalf("needs %+v: %v", list, err)
	}
	given, err := h.Provision(t.Context(), &task.Snapshot{Spec: spec}, &list[0])
	if err != nil {
		t.Fatal(err)
	}
	binds = make(map[string][]string)
	for name, in := range given.Inputs {
		binds[name] = in.Binds
	}
	return list[0], binds, given.Agents
}

func TestWhatAContainerGets(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("compares mounts of containers of Linux, whose hosts have other paths")
	}
	dir, logs := t.TempDir(), filepath.Join(t.TempDir(), "exec")
	install(t, dir, "3.3.40.0")
	h := New(Options{OS: "linux", Dir: dir, LogDir: logs})
	spec := specOf(exec("web", map[string]string{"sessionLimit": "7"}), task.Container{Name: "plain"}, exec("--", nil))
	r, binds, agents := provision(t, h, spec)
	if !slices.Equal(r.Containers, []string{"web", "--"}) || r.Before != task.ContainerCreated {
		t.Fatalf("resource %+v", r)
	}
	home := "/ecs-execute-command-" + r.Data["web"]
	bin := filepath.Join(dir, "bin", "3.3.40.0")
	got := binds["web"]
	want := []string{
		bin + "/amazon-ssm-agent:" + home + "/amazon-ssm-agent:ro",
		bin + "/ssm-agent-worker:" + home + "/ssm-agent-worker:ro",
		bin + "/ssm-session-worker:" + home + "/ssm-session-worker:ro",
		"", "",
		filepath.Join(dir, "certs", "tls-ca-bundle.pem") + ":" + home + "/certs/amazon-ssm-agent.crt:ro",
		logs + "/0123/web:/var/log/amazon/ssm",
	}
	for i := range want {
		if want[i] != "" && got[i] != want[i] {
			t.Errorf("bind %d is %s, want %s", i, got[i], want[i])
		}
	}
	if s := agents["web"]; !slices.Equal(s.Command, []string{home + "/amazon-ssm-agent"}) || s.User != "0" || s.Problem != "" {
		t.Errorf("started as %+v", s)
	}
	file, target, _ := strings.Cut(got[3], ":")
	if target != home+"/configuration/amazon-ssm-agent.json:ro" {
		t.Errorf("configuration at %s", target)
	}
	text, err := os.ReadFile(file)
	if err != nil || filepath.Base(file) != "amazon-ssm-agent-"+hash(text)+".json" {
		t.Fatalf("configuration %s: %v", file, err)
	}
	var config struct {
		Mgs   struct{ StopTimeoutMillis, SessionWorkersLimit int }
		Agent struct{ ContainerMode, UseDualStackEndpoint bool }
	}
	if err := json.Unmarshal(text, &config); err != nil || config.Mgs.StopTimeoutMillis != 20000 || config.Mgs.SessionWorkersLimit != 7 ||
		!config.Agent.ContainerMode || config.Agent.UseDualStackEndpoint {
		t.Errorf("configuration %s: %v", text, err)
	}
	file, _, _ = strings.Cut(got[4], ":")
	text, err = os.ReadFile(file)
	if err != nil || xml.Unmarshal(text, new(struct{ XMLName xml.Name })) != nil || !strings.Contains(string(text), `/var/log/amazon/ssm/amazon-ssm-agent.log" maxsize="40000000" maxrolls="1"`) {
		t.Errorf("log configuration %s: %v", text, err)
	}
	if want := logs + "/0123/nameless-container-" + r.Data["--"]; !strings.HasPrefix(binds["--"][6], want+":") {
		t.Errorf("log of a container without a name: %s", binds["--"][6])
	} else if info, err := os.Stat(want); err != nil || !info.IsDir() {
		t.Errorf("log folder %v", err)
	}
	// The next container like it finds the files; what is not them is replaced.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, again, _ := provision(t, h, spec); again["web"][4][:len(file)] != file {
		t.Errorf("second time %s", again["web"][4])
	}
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		t.Errorf("a folder in the file's place stayed: %v", err)
	}
	if err := h.CleanUp(t.Context(), &task.Snapshot{Spec: spec}, &r, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(logs, "0123")); !os.IsNotExist(err) {
		t.Errorf("logs stayed: %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, configFolder)); len(entries) != 3 { // two limits, one log
		t.Errorf("configuration files %v", entries)
	}
}

func TestVersions(t *testing.T) {
	tests := []struct {
		name     string
		versions []string
		strip    string // a program of this version is missing
		want     string
		problem  string
	}{
		{"newest by number", []string{"3.3.9.0", "3.3.40.0", "3.10", "latest", "3.3.40.0-rc1"}, "", "3.10", ""},
		{"missing parts are 0", []string{"3", "3.0.0.1"}, "", "3.0.0.1", ""},
		{"one is not whole", []string{"3.1", "3.2"}, "3.2", "3.1", ""},
		{"none is whole", []string{"3.2"}, "3.2", "", "no valid versions were found in "},
		{"no version", []string{"latest"}, "", "", "no valid versions were found in "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			install(t, dir, tt.versions...)
			if tt.strip != "" {
				if err := os.Remove(filepath.Join(dir, binFolder, tt.strip, programs[1])); err != nil {
					t.Fatal(err)
				}
			}
			got, err := newest(dir, "linux")
			if tt.problem != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.problem) {
					t.Errorf("error %v", err)
				}
				if ok, err := Installed(dir, "linux"); ok || err == nil {
					t.Errorf("installed %v: %v", ok, err)
				}
				return
			}
			if err != nil || filepath.Base(got) != tt.want {
				t.Errorf("newest is %s: %v", got, err)
			}
			if ok, err := Installed(dir, "linux"); !ok || err != nil {
				t.Errorf("installed %v: %v", ok, err)
			}
		})
	}
	if ok, err := Installed(t.TempDir(), "linux"); ok || err != nil {
		t.Errorf("nothing at all: %v %v", ok, err)
	}
}

// TestWhatIsMissing is told and fails nothing.
func TestWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "1.0")
	h := New(Options{OS: "linux", Dir: dir, LogDir: t.TempDir()})
	if err := os.Remove(filepath.Join(dir, certsFolder, bundle)); err != nil {
		t.Fatal(err)
	}
	_, binds, agents := provision(t, h, specOf(exec("web", nil)))
	if len(binds) != 0 || agents["web"].Problem != "could not find certs" {
		t.Errorf("binds %v, agents %+v", binds, agents)
	}
	if list, err := h.Needs(specOf(task.Container{Name: "web", ManagedAgents: []task.ManagedAgent{{Name: "Other"}}})); len(list) != 0 || err != nil {
		t.Errorf("needs of a task without an exec agent: %+v, %v", list, err)
	}
	evil := specOf(exec("web", nil))
	evil.ARN = "arn:x/.."
	if _, err := h.Needs(evil); err == nil {
		t.Error("a task id that leads out of the folder was accepted")
	}
}

func TestSessionLimitAndAddresses(t *testing.T) {
	for word, want := range map[string]int{"": 2, "0": 2, "-3": 2, "many": 2, "9": 9} {
		if got := sessionLimit(&task.ManagedAgent{Properties: map[string]string{"sessionLimit": word}}); got != want {
			t.Errorf("limit %q is %d, want %d", word, got, want)
		}
	}
	six := specOf(exec("web", nil))
	six.ENIs = []task.ENI{{IPv6: []task.Address{{Address: "fd00::1"}}}}
	if !ipv6Only(six) || ipv6Only(specOf()) {
		t.Error("which tasks have IPv6 alone")
	}
}

// TestWindowsLayout: whole folders are mounted there.
func TestWindowsLayout(t *testing.T) {
	l := layout{os: windows, dir: `base`, hostLog: `logs`, task: "0123", folder: "web", version: "v", config: []byte("a"), logging: []byte("b")}
	binds := l.binds()
	if binds[0] != `v:C:\Program Files\Amazon\SSM:ro` || !strings.HasSuffix(binds[1], `:C:\Program Files\Amazon\SSM\configuration:ro`) ||
		!strings.HasSuffix(binds[2], `:C:\ProgramData\Amazon\SSM`) || filepath.Dir(l.configFile()) != filepath.Dir(l.logFile()) {
		t.Errorf("binds %q", binds)
	}
	if s := l.setup(); s.User != `NT AUTHORITY\SYSTEM` || s.Command[0] != `C:\Program Files\Amazon\SSM\amazon-ssm-agent.exe` {
		t.Errorf("started as %+v", s)
	}
}
