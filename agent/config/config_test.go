package config

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// host is a machine for tests: its environment, its files, its metadata.
type host struct {
	goos     string
	env      []string
	files    map[string]string
	exists   []string
	userData string
	region   string
	imdsErr  error
	noIMDS   bool
	flags    Flags
	v6       bool
	trusted  bool
}

const (
	userFile     = "/etc/ecs/ecs.config"
	instanceFile = "/var/lib/ecs/ecs.config"
	jsonFile     = "/etc/ecs/ecs.config.json"
)

func (h host) sources() Sources {
	goos := h.goos
	if goos == "" {
		goos = "linux"
	}
	s := Sources{
		GOOS: goos, Environ: h.env, Flags: h.flags,
		ReadFile: func(path string) ([]byte, error) {
			if text, ok := h.files[path]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
		Exists: func(path string) bool {
			if _, ok := h.files[path]; ok || path == "/mnt/ecs/ebs" {
				return true
			}
			for _, p := range h.exists {
				if p == path {
					return true
				}
			}
			return false
		},
		IPv6Only:     func() bool { return h.v6 },
		TrustedOwner: func(string) bool { return h.trusted },
	}
	if !h.noIMDS {
		s.IMDS = fakeIMDS{h}
	}
	return s
}

type fakeIMDS struct{ h host }

func (f fakeIMDS) UserData(ctx context.Context) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		return nil, errors.New("no deadline")
	}
	return []byte(f.h.userData), f.h.imdsErr
}

func (f fakeIMDS) Region(ctx context.Context) (string, error) {
	if _, ok := ctx.Deadline(); !ok {
		return "", errors.New("no deadline")
	}
	if f.h.region == "" && f.h.imdsErr == nil {
		return "us-west-2\n", nil
	}
	return f.h.region, f.h.imdsErr
}

// load loads and wants no fatal finding.
func load(t *testing.T, h host) (*Config, []string) {
	t.Helper()
	c, findings, err := Load(context.Background(), h.sources())
	if err != nil {
		t.Fatal(err)
	}
	return c, lines(findings)
}

func lines(findings []Finding) []string {
	var list []string
	for _, f := range findings {
		list = append(list, f.Severity.String()+" "+f.String())
	}
	return list
}

func TestPrecedence(t *testing.T) {
	flag := "ECS_CLUSTER=env"
	sources := []struct {
		name string
		add  func(*host)
		want string
	}{
		{"default", func(*host) {}, "not set: default"},
		{"user data", func(h *host) { h.userData = `{"ECSAgentConfiguration": {"Cluster": "user-data"}}` }, "user-data: EC2 user data"},
		{"JSON file", func(h *host) { h.files[jsonFile] = "{\n  \"cluster\": \"json\"\n}" }, "json: /etc/ecs/ecs.config.json:2"},
		{"instance file", func(h *host) { h.files[instanceFile] = "ECS_CLUSTER=instance" }, "instance: /var/lib/ecs/ecs.config:1"},
		{"user file", func(h *host) { h.files[userFile] = "\n\nECS_CLUSTER=user\n" }, "user: /etc/ecs/ecs.config:3"},
		{"environment", func(h *host) { h.env = append(h.env, flag) }, "env: environment"},
	}
	h := host{files: map[string]string{}}
	for _, s := range sources {
		s.add(&h)
		c, findings := load(t, h)
		got := c.Cluster
		if got == "" {
			got = "not set"
		}
		if got += ": " + c.Origin("ECS_CLUSTER").String(); got != s.want {
			t.Errorf("with %s: %s, want %s", s.name, got, s.want)
		}
		if len(findings) > 0 {
			t.Errorf("with %s: %q", s.name, findings)
		}
	}
}

func TestRegion(t *testing.T) {
	for _, test := range []struct {
		name   string
		h      host
		want   string
		origin string
		err    string
	}{
		{"metadata", host{}, "us-west-2", "instance metadata", ""},
		{"environment", host{env: []string{"AWS_DEFAULT_REGION= eu-west-1 "}}, "eu-west-1", "environment", ""},
		{"JSON", host{files: map[string]string{jsonFile: `{"AWSRegion":" eu-west-1 "}`}}, "eu-west-1", "/etc/ecs/ecs.config.json:1", ""},
		{"none", host{noIMDS: true}, "", "default", "AWS_DEFAULT_REGION: is not set and the instance metadata does not tell"},
		{"metadata fails", host{imdsErr: errors.New("timed out")}, "", "default", "AWS_DEFAULT_REGION: is not set"},
		{"AWS_REGION only", host{noIMDS: true, env: []string{"AWS_REGION=eu-west-1"}}, "", "default", "AWS_REGION is, but it is not read"},
		{"external", host{env: []string{"ECS_EXTERNAL=true"}}, "", "default", "ECS_EXTERNAL needs"},
		{"external in JSON", host{files: map[string]string{jsonFile: `{"External":true}`}}, "", "default", "ECS_EXTERNAL needs"},
		{"external with region", host{env: []string{"ECS_EXTERNAL=1", "AWS_DEFAULT_REGION=eu-west-1"}}, "eu-west-1", "environment", ""},
		{"blackhole", host{flags: Flags{BlackholeIMDS: true}}, "", "default", "AWS_DEFAULT_REGION"},
		{"metadata disabled", host{files: map[string]string{userFile: "AWS_EC2_METADATA_DISABLED=true"}}, "", "default", "AWS_DEFAULT_REGION"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _, err := Load(context.Background(), test.h.sources())
			if c.Region != test.want || c.Origin("AWS_DEFAULT_REGION").String() != test.origin {
				t.Errorf("region %q from %s, want %q from %s", c.Region, c.Origin("AWS_DEFAULT_REGION"), test.want, test.origin)
			}
			var loadErr *LoadError
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if errors.As(err, &loadErr) && loadErr.ExitCode() != 1 {
				t.Errorf("exit code %d", loadErr.ExitCode())
			}
		})
	}
}

func TestDerivedSettings(t *testing.T) {
	t.Run("external", func(t *testing.T) {
		c, findings := load(t, host{env: []string{"ECS_EXTERNAL=true", "AWS_DEFAULT_REGION=eu-west-1", "ECS_ENABLE_TASK_ENI=true", "ECS_WARM_POOLS_CHECK=true"}})
		if c.TaskENI || !c.NoIID || c.ENITrunking || !c.BlackholeMetadata || c.Origin("ECS_ENABLE_TASK_ENI").String() != "forced (external instance)" {
			t.Errorf("%+v", c)
		}
		want := []string{
			"notice environment: ECS_ENABLE_TASK_ENI: has no effect: external instance",
			"notice environment: ECS_WARM_POOLS_CHECK: has an effect only if ECS_EXTERNAL is off",
		}
		if diff := cmp.Diff(want, findings); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("machine", func(t *testing.T) {
		c, _ := load(t, host{v6: true, files: map[string]string{
			"/etc/os-release": "NAME=\"Amazon Linux\"\nID=\"amzn\"\nVERSION_ID='2023'\n", "/proc/sys/crypto/fips_enabled": "1\n",
			"/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
		}})
		if c.DetailedOSFamily != "amzn_2023" || !c.FIPS || c.DynamicHostPortRange != (PortRange{32768, 60999}) || c.ExcludeIPv6PortBinding {
			t.Errorf("%q %v %v %v", c.DetailedOSFamily, c.FIPS, c.DynamicHostPortRange, c.ExcludeIPv6PortBinding)
		}
		c, _ = load(t, host{env: []string{"ECS_INSTANCE_IP_COMPATIBILITY= IPv4 "}, v6: true, files: map[string]string{"/etc/os-release": "ID=x\n"}})
		if c.DetailedOSFamily != "linux" || c.FIPS || c.DynamicHostPortRange != (PortRange{49153, 65535}) || !c.ExcludeIPv6PortBinding {
			t.Errorf("%q %v %v %v", c.DetailedOSFamily, c.FIPS, c.DynamicHostPortRange, c.ExcludeIPv6PortBinding)
		}
	})
	t.Run("lists that are added to", func(t *testing.T) {
		c, _ := load(t, host{env: []string{"ECS_ENABLE_PROMETHEUS_METRICS=true", "ECS_RESERVED_PORTS=[1]"}})
		if diff := cmp.Diff([]uint16{1, 51680}, c.ReservedPorts); diff != "" {
			t.Error(diff)
		}
		c, _ = load(t, host{goos: "windows", env: []string{"ECS_ENABLE_TASK_IAM_ROLE=true", "ECS_RESERVED_PORTS=[80]"}})
		if diff := cmp.Diff([]uint16{80}, c.ReservedPorts); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("EBS needs its directory", func(t *testing.T) {
		src := host{env: []string{"ECS_EBSTA_SUPPORTED=true"}}.sources()
		src.Exists = func(string) bool { return false }
		c, findings, _ := Load(context.Background(), src)
		if c.EBSTaskAttach || len(findings) != 1 {
			t.Errorf("%v %q", c.EBSTaskAttach, lines(findings))
		}
	})
	t.Run("endpoint scheme", func(t *testing.T) {
		for in, want := range map[string]string{"ecs.example": "https://ecs.example", " http://127.0.0.1:1 ": "http://127.0.0.1:1", "https://x": "https://x"} {
			if c, _ := load(t, host{env: []string{"ECS_BACKEND_HOST=" + in}}); c.APIEndpoint != want {
				t.Errorf("%q became %q", in, c.APIEndpoint)
			}
		}
	})
	t.Run("set but empty OS family", func(t *testing.T) {
		if c, _ := load(t, host{env: []string{"ECS_DETAILED_OS_FAMILY="}}); c.DetailedOSFamily != "" || !c.Explicit("ECS_DETAILED_OS_FAMILY") {
			t.Errorf("%q", c.DetailedOSFamily)
		}
	})
	t.Run("task limits that must be", func(t *testing.T) {
		c, _ := load(t, host{})
		if !c.TaskCPUMemLimit || c.Explicit("ECS_ENABLE_TASK_CPU_MEM_LIMIT") {
			t.Error("default is not on if possible")
		}
		if c, _ = load(t, host{env: []string{"ECS_ENABLE_TASK_CPU_MEM_LIMIT=true"}}); !c.Explicit("ECS_ENABLE_TASK_CPU_MEM_LIMIT") {
			t.Error("set is not explicit")
		}
	})
}

func TestLogLevels(t *testing.T) {
	for _, test := range []struct {
		name          string
		env           []string
		flags         Flags
		console, file string
	}{
		{"default", nil, Flags{}, "info", "info"},
		{"one variable", []string{"ECS_LOGLEVEL=DEBUG"}, Flags{}, "debug", "debug"},
		{"crit in, critical out", []string{"ECS_LOGLEVEL=crit"}, Flags{}, "critical", "critical"},
		{"both variables", []string{"ECS_LOGLEVEL=warn", "ECS_LOGLEVEL_ON_INSTANCE=none"}, Flags{}, "warn", "off"},
		{"driver", []string{"ECS_LOG_DRIVER=awslogs", "ECS_LOGLEVEL=warn"}, Flags{}, "warn", "off"},
		{"driver and level", []string{"ECS_LOG_DRIVER=awslogs", "ECS_LOGLEVEL_ON_INSTANCE=error"}, Flags{}, "info", "error"},
		{"unknown word", []string{"ECS_LOGLEVEL=verbose"}, Flags{}, "info", "info"},
		{"flag for both", []string{"ECS_LOGLEVEL=warn", "ECS_LOGLEVEL_ON_INSTANCE=error"}, Flags{LogLevel: "debug", LogLevelDriver: "error"}, "debug", "debug"},
		{"console flag", []string{"ECS_LOGLEVEL=warn"}, Flags{LogLevelDriver: "Debug"}, "debug", "warn"},
		{"file flag", []string{"ECS_LOGLEVEL=warn", "ECS_LOG_DRIVER=x"}, Flags{LogLevelOnInstance: "debug"}, "warn", "debug"},
		{"unknown flag word", []string{"ECS_LOGLEVEL=warn"}, Flags{LogLevel: "loud"}, "warn", "warn"},
	} {
		c, _ := load(t, host{env: test.env, flags: test.flags})
		if c.Log.Level != test.console || c.Log.LevelOnInstance != test.file {
			t.Errorf("%s: %s, %s; want %s, %s", test.name, c.Log.Level, c.Log.LevelOnInstance, test.console, test.file)
		}
	}
}

func TestHostPaths(t *testing.T) {
	for _, test := range []struct {
		configured string
		exists     []string
		want       string
	}{
		{"/data", nil, "/var/lib/ecs/data"},
		{"/data/", nil, "/var/lib/ecs/data"},
		{"/data/sub", []string{"/data"}, "/var/lib/ecs/data/sub"},
		{"/data", []string{"/data/agent.db"}, "/data"},
		{"/database", nil, "/database"},
		{"/log/x", nil, "/var/log/ecs/x"},
		{"/log", []string{"/log"}, "/log"},
		{"/managed-agents/a", nil, "/var/lib/ecs/deps/a"},
		{"/data", []string{"/.dockerenv"}, "/data"},
		{"/var/lib/ecs/elsewhere", nil, "/var/lib/ecs/elsewhere"},
	} {
		c, findings := load(t, host{env: []string{"ECS_DATADIR=" + test.configured}, exists: test.exists})
		if c.DataDir != test.want || len(findings) > 0 {
			t.Errorf("%s with %v: %s, want %s; %q", test.configured, test.exists, c.DataDir, test.want, findings)
		}
	}
}

func TestWindows(t *testing.T) {
	c, findings := load(t, host{goos: "windows", env: []string{`PROGRAMDATA=D:\Data`, "ecs_cluster=prod", "=C:=C:\\x"}})
	if c.Cluster != "prod" || c.DataDir != `D:\Data\Amazon\ECS\data` || c.CNIPluginsPath != `C:\Program Files\Amazon\ECS\cni` {
		t.Errorf("%q %q %q", c.Cluster, c.DataDir, c.CNIPluginsPath)
	}
	if c.Checkpoint || c.TaskCPUMemLimit || c.TaskENI || !c.GMSA || c.GMSADomainless || !c.FSxWindowsFileServer || c.Log.File != "" {
		t.Errorf("defaults: %+v", c)
	}
	if len(findings) > 0 {
		t.Errorf("%q", findings)
	}
	c, _ = load(t, host{goos: "windows", env: []string{`ECS_DATADIR=D:\ecs`, "ECS_GMSA_SUPPORTED=true"}})
	if !c.Checkpoint || !c.GMSADomainless {
		t.Error("ECS_DATADIR does not turn checkpoints on, or gMSA is not domainless")
	}
	c, findings = load(t, host{goos: "windows", trusted: true, files: map[string]string{
		`C:\ProgramData\Amazon\ECS\ecs.config`: "ECS_LOGFILE=%ProgramData%\\x.log\r\nECS_TASK_PIDS_LIMIT=5\r\n",
	}})
	if c.Log.File != `C:\ProgramData\x.log` {
		t.Errorf("file %q", c.Log.File)
	}
	if diff := cmp.Diff([]string{`notice C:\ProgramData\Amazon\ECS\ecs.config:2: ECS_TASK_PIDS_LIMIT: has no effect on windows`}, findings); diff != "" {
		t.Error(diff)
	}
	// Anybody may have written a file of another owner, unless somebody asked for it.
	for path, want := range map[string]string{`C:\ProgramData\Amazon\ECS\ecs.config`: "", `D:\ecs.config`: "prod"} {
		c, findings = load(t, host{goos: "windows", env: []string{"ECS_CONFIG_FILE=" + path}[:min(1, len(want))], files: map[string]string{path: "ECS_CLUSTER=prod\n"}})
		if c.Cluster != want || (len(findings) == 1) != (want == "") {
			t.Errorf("%s of another owner: cluster %q, %q", path, c.Cluster, findings)
		}
	}
	const json = "/etc/ecs_container_agent/config.json"
	for trusted, want := range map[bool]string{true: "prod", false: ""} {
		if c, _ = load(t, host{goos: "windows", trusted: trusted, files: map[string]string{json: `{"Cluster":"prod"}`}}); c.Cluster != want {
			t.Errorf("trusted %v: cluster %q", trusted, c.Cluster)
		}
	}
	c, _ = load(t, host{goos: "windows", env: []string{`ECS_AGENT_CONFIG_FILE_PATH=D:\c.json`}, files: map[string]string{`D:\c.json`: `{"Cluster":"prod"}`}})
	if c.Cluster != "prod" {
		t.Error("a named file needs no owner")
	}
}

func TestFilesElsewhere(t *testing.T) {
	c, findings := load(t, host{
		env:   []string{"ECS_CONFIG_FILE=/x/user", "ECS_INSTANCE_CONFIG_FILE=/x/instance"},
		files: map[string]string{"/x/user": "ECS_CLUSTER=a\nECS_AGENT_CONFIG_FILE_PATH=/x/json", "/x/instance": "ECS_CLUSTER=b\nECS_RESERVED_MEMORY=7", "/x/json": `{"ReservedMemory":8,"PollMetrics":1}`, userFile: "ECS_CLUSTER=c"},
	})
	if c.Cluster != "a" || c.ReservedMemory != 7 || !c.PollMetrics || c.JSONFile != "/x/json" || len(findings) > 0 {
		t.Errorf("%q %d %v %q %q", c.Cluster, c.ReservedMemory, c.PollMetrics, c.JSONFile, findings)
	}
	c, _ = load(t, host{flags: Flags{ConfigFile: "/x/flag"}, env: []string{"ECS_CONFIG_FILE=/x/user"}, files: map[string]string{"/x/flag": "ECS_CLUSTER=f"}})
	if c.Cluster != "f" || c.Origin("ECS_CONFIG_FILE").String() != "command line" {
		t.Errorf("flag: %q", c.Cluster)
	}
	_, findings = load(t, host{env: []string{"ECS_CONFIG_FILE=/x/user", "ECS_AGENT_CONFIG_FILE_PATH=/x/json"}})
	want := []string{
		"warning environment: ECS_CONFIG_FILE: names /x/user, which does not exist (want an existing file)",
		"warning environment: ECS_AGENT_CONFIG_FILE_PATH: names /x/json, which does not exist (want an existing file)",
	}
	if diff := cmp.Diff(want, findings); diff != "" {
		t.Error(diff)
	}
}

func TestExport(t *testing.T) {
	src := host{
		env: []string{"HTTP_PROXY=http://env:1", "NO_PROXY="},
		files: map[string]string{
			userFile:     "HTTPS_PROXY=http://user:1\nHTTP_PROXY=http://user:1\nECS_CLUSTER=x\nGODEBUG=a=b\nNO_PROXY=x\nECS_ENGINE_AUTH_DATA={}",
			instanceFile: "HTTPS_PROXY=http://instance:1\nAWS_DEFAULT_REGION=eu-west-1\nAWS_ENDPOINT_URL_S3=http://s3\nnot a line",
		},
	}.sources()
	got := map[string]string{}
	if err := Export(src, func(name, value string) error { got[name] = value; return nil }); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"HTTPS_PROXY": "http://user:1", "GODEBUG": "a=b", "NO_PROXY": "x",
		"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ENDPOINT_URL_S3": "http://s3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	broken := errors.New("refused")
	if err := Export(src, func(string, string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}
