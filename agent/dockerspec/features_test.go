package dockerspec

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/task"
)

func TestLogs(t *testing.T) {
	resolve := func(region string, dual bool) (string, error) {
		if region == "broken" {
			return "", errors.New("no such region")
		}
		return fmt.Sprintf("https://logs.%s/%v", region, dual), nil
	}
	tests := []struct {
		name     string
		json     string
		strategy string
		env      func(*Env)
		want     map[string]string
	}{
		{name: "plain", json: `{"LogConfig":{"Type":"json-file"}}`},
		{name: "execution role", json: `{"LogConfig":{"Type":"awslogs","Config":{"awslogs-group":"g"}}}`, strategy: "ExecutionRole",
			want: map[string]string{"awslogs-group": "g", "awslogs-credentials-endpoint": "/v2/credentials/exec"}},
		{name: "other word", json: `{"LogConfig":{"Type":"awslogs","Config":{"awslogs-group":"g"}}}`, strategy: "executionrole", want: map[string]string{"awslogs-group": "g"}},
		{name: "buffer", json: `{"LogConfig":{"Type":"x","Config":{"mode":"non-blocking"}}}`, want: map[string]string{"mode": "non-blocking", "max-buffer-size": "10m"}},
		{name: "own buffer", json: `{"LogConfig":{"Type":"x","Config":{"mode":"non-blocking","max-buffer-size":"1m"}}}`, want: map[string]string{"mode": "non-blocking", "max-buffer-size": "1m"}},
		{name: "isolated region", json: `{"LogConfig":{"Type":"awslogs","Config":{"awslogs-endpoint":"mine"}}}`, env: func(e *Env) { e.Region = "us-iso-east-1" },
			want: map[string]string{"awslogs-endpoint": "https://logs.us-iso-east-1/false"}},
		{name: "ipv6 only", json: `{"LogConfig":{"Type":"awslogs","Config":{"awslogs-region":"r"}}}`, env: func(e *Env) { e.IPv6Only = true },
			want: map[string]string{"awslogs-region": "r", "awslogs-endpoint": "https://logs.r/true"}},
		{name: "ipv6 only, own endpoint", json: `{"LogConfig":{"Type":"awslogs","Config":{"awslogs-region":"r","awslogs-endpoint":"mine"}}}`, env: func(e *Env) { e.IPv6Only = true },
			want: map[string]string{"awslogs-region": "r", "awslogs-endpoint": "mine"}},
		{name: "unresolved", json: `{"LogConfig":{"Type":"awslogs","Config":{"awslogs-region":"broken"}}}`, env: func(e *Env) { e.IPv6Only = true },
			want: map[string]string{"awslogs-region": "broken"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, st := one(task.Container{Image: "i", DockerHostConfig: tt.json, LogsAuthStrategy: tt.strategy})
			spec.ExecutionCredentialsID = "exec"
			env := linuxEnv()
			env.LogsEndpoint = resolve
			if tt.env != nil {
				tt.env(&env)
			}
			req, err := Build(spec, 0, st, Inputs{}, env)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, req.HostConfig.LogConfig.Config); diff != "" {
				t.Error(diff)
			}
		})
	}
	spec, st := one(task.Container{Image: "i", LogsAuthStrategy: "ExecutionRole"})
	spec.ExecutionCredentialsID = "gone"
	env := linuxEnv()
	env.KnowsCredentials = func(string) bool { return false }
	if _, err := Build(spec, 0, st, Inputs{}, env); err == nil || err.Error() != "HostConfigError: Unable to get execution role credentials for task" {
		t.Errorf("unknown credentials: %v", err)
	}
}

// withPauses is an awsvpc task with both kinds of pause container.
func withPauses() (*task.Spec, *task.State) {
	spec := &task.Spec{
		ARN: testARN, Family: "f", Version: "1", NetworkMode: "awsvpc", PIDMode: "task", IPCMode: "task",
		Containers: []task.Container{{Name: "a"}, {Name: "~internal~ecs~pause", Type: task.CNIPause}, {Name: "~internal~ecs~pause~namespace", Type: task.NamespacePause}},
		ENIs: []task.ENI{{
			PrivateDNSName: "ip-10-0-0-5.ec2.internal", DomainNames: []string{"ec2.internal"}, DomainNameServers: []string{"10.0.0.2"},
			IPv4: []task.Address{{Address: "10.0.0.5", Primary: true}}, IPv6: []task.Address{{Address: "fd00::5"}},
		}},
	}
	return spec, &task.State{Containers: []task.ContainerState{{DockerName: "a"}, {DockerName: "p", RuntimeID: "net"}, {DockerName: "n", RuntimeID: "ns"}}}
}

func TestNamespaces(t *testing.T) {
	type modes struct{ net, pid, ipc string }
	of := func(spec *task.Spec, i int, st *task.State, env Env) modes {
		t.Helper()
		req, err := Build(spec, i, st, Inputs{}, env)
		if err != nil {
			t.Fatal(err)
		}
		h := req.HostConfig
		return modes{string(h.NetworkMode), string(h.PidMode), string(h.IpcMode)}
	}
	spec, st := withPauses()
	for i, want := range []modes{{"container:net", "container:ns", "container:ns"}, {"none", "", ""}, {"none", "", "shareable"}} {
		if got := of(spec, i, st, linuxEnv()); got != want {
			t.Errorf("container %d: %+v, want %+v", i, got, want)
		}
	}
	st.Containers[2].RuntimeID = ""
	if _, err := Build(spec, 0, st, Inputs{}, linuxEnv()); err == nil || err.Error() != "HostConfigError: no pause container holds the task's PID namespace" {
		t.Errorf("missing pause container: %v", err)
	}

	for _, tt := range []struct {
		mode, pid, ipc, json string
		env                  Env
		want                 modes
	}{
		{mode: "bridge", pid: "host", ipc: "none", json: `{"NetworkMode":"bridge"}`, env: linuxEnv(), want: modes{"bridge", "host", "none"}},
		{mode: "host", ipc: "host", env: linuxEnv(), want: modes{"host", "", "host"}},
		{mode: "none", json: `{"NetworkMode":"none"}`, env: linuxEnv(), want: modes{"none", "", ""}},
		{mode: "bridge", json: `{"NetworkMode":"bridge"}`, env: Env{OS: "windows"}, want: modes{"nat", "", ""}},
		{mode: "bridge", json: `{"NetworkMode":"custom"}`, env: Env{OS: "windows"}, want: modes{"custom", "", ""}},
	} {
		spec, st := one(task.Container{Image: "i", DockerHostConfig: tt.json})
		spec.NetworkMode, spec.PIDMode, spec.IPCMode = tt.mode, tt.pid, tt.ipc
		if got := of(spec, 0, st, tt.env); got != tt.want {
			t.Errorf("%s %s: %+v, want %+v", tt.env.OS, tt.mode, got, tt.want)
		}
	}
}

// Docker refuses names, resolvers and ports of a container that joins another's network.
func TestJoinedNetwork(t *testing.T) {
	spec, st := withPauses()
	spec.Containers[0].Ports = []task.PortMapping{{ContainerPort: 80, HostPort: 80}, {Range: "7000-7004"}}
	spec.Containers[0].DockerConfig = `{"Hostname":"h","ExposedPorts":{"81/tcp":{}}}`
	spec.Containers[0].DockerHostConfig = `{"ExtraHosts":["a:1.2.3.4"],"Dns":["1.1.1.1"],"DnsSearch":["x"],"PublishAllPorts":true}`
	req, err := Build(spec, 0, st, Inputs{}, linuxEnv())
	if err != nil {
		t.Fatal(err)
	}
	c, h := req.Config, req.HostConfig
	if c.Hostname != "" || len(c.ExposedPorts)+len(h.PortBindings)+len(h.ExtraHosts)+len(h.DNS)+len(h.DNSSearch) > 0 || h.PublishAllPorts {
		t.Errorf("config %+v host %+v", c, h)
	}
	spec.NetworkMode = "bridge"
	if req, err = Build(spec, 0, st, Inputs{}, linuxEnv()); err != nil || len(req.HostConfig.PortBindings) != 6 || req.Config.Hostname != "h" {
		t.Errorf("on the bridge: %v %+v", err, req)
	}
}

func TestNetworkPause(t *testing.T) {
	spec, st := withPauses()
	req, err := Build(spec, 1, st, Inputs{}, linuxEnv())
	if err != nil {
		t.Fatal(err)
	}
	h := req.HostConfig
	if req.Config.Hostname != "ip-10-0-0-5.ec2.internal" || len(req.Config.Env) != 0 ||
		!slices.Equal(h.ExtraHosts, []string{"ip-10-0-0-5.ec2.internal:10.0.0.5"}) ||
		!slices.Equal(h.DNS, []string{"10.0.0.2"}) || !slices.Equal(h.DNSSearch, []string{"ec2.internal"}) ||
		h.Sysctls["net.ipv6.conf.all.disable_ipv6"] != "0" {
		t.Errorf("config %+v host %+v", req.Config, h)
	}
	spec.ENIs[0].IPv4 = nil
	if req, err = Build(spec, 1, st, Inputs{}, linuxEnv()); err != nil || !slices.Equal(req.HostConfig.ExtraHosts, []string{"ip-10-0-0-5.ec2.internal:fd00::5"}) {
		t.Errorf("IPv6 only: %v %v", req.HostConfig, err)
	}
}

func TestVolumes(t *testing.T) {
	volumes := []task.Volume{
		{Name: "host", Type: task.VolumeHost, Host: &task.HostVolume{SourcePath: "/h"}},
		{Name: "empty", Type: task.VolumeHost, Host: &task.HostVolume{}},
		{Name: "task", Type: task.VolumeDocker, Docker: &task.DockerVolume{Scope: "task", Driver: "local"}},
		{Name: "shared", Type: task.VolumeDocker, Docker: &task.DockerVolume{Scope: "shared", Driver: "local"}},
		{Name: "ebs", Type: task.VolumeEBS, Properties: map[string]string{"sourceVolumeHostPath": "vol-1_task"}},
		{Name: "mapped", Type: task.VolumeFSx},
	}
	c := task.Container{Image: "i"}
	for _, v := range volumes {
		c.MountPoints = append(c.MountPoints, task.MountPoint{SourceVolume: v.Name, ContainerPath: "/" + v.Name, ReadOnly: v.Name == "task"})
	}
	spec, st := one(c)
	spec.Volumes = volumes
	st.Volumes = []task.VolumeState{{}, {DockerName: "dv-empty"}, {DockerName: "dv-task"}, {}, {}, {}}
	req, err := Build(spec, 0, st, Inputs{VolumeSources: map[string]string{"mapped": "z:"}}, linuxEnv())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/h:/host", "dv-empty:/empty", "dv-task:/task:ro", "shared:/shared", "/mnt/ecs/ebs/vol-1_task:/ebs", "z::/mapped"}
	if !slices.Equal(req.HostConfig.Binds, want) {
		t.Errorf("binds %q, want %q", req.HostConfig.Binds, want)
	}
	// 900000 + last four bytes of SHA-256("vol-1_task") mod 100000.
	if !slices.Equal(req.HostConfig.GroupAdd, []string{"995771"}) {
		t.Errorf("groups %q", req.HostConfig.GroupAdd)
	}
}

// Paths of Windows: docs/spec/02 section 1.8, step 1.
func TestWindowsPaths(t *testing.T) {
	for given, want := range map[string]string{
		`C:\Data\..\App\`: `c:\app`, `c:/Data//x`: `c:\data\x`, `C:\`: `c:\`, `\\.\pipe\Docker_Engine`: `\\.\pipe\docker_engine`,
		`\\Server\Share\A`: `\\server\share\a`, ``: ``,
	} {
		if got := windowsPath(given); got != want {
			t.Errorf("%q becomes %q, want %q", given, got, want)
		}
	}
	spec, st := one(task.Container{Image: "i", MountPoints: []task.MountPoint{{SourceVolume: "v", ContainerPath: `D:\Target`}}})
	spec.Volumes = []task.Volume{{Name: "v", Type: task.VolumeHost, Host: &task.HostVolume{SourcePath: `C:\Source\`}}}
	for os, want := range map[string]string{"windows": `c:\source:d:\target`, "linux": `C:\Source\:D:\Target`} {
		env := linuxEnv()
		env.OS = os
		req, err := Build(spec, 0, st, Inputs{}, env)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(req.HostConfig.Binds, []string{want}) {
			t.Errorf("%s: %q, want %q", os, req.HostConfig.Binds, want)
		}
	}
}

func TestDevices(t *testing.T) {
	gpu := func(external bool) func(*Env) {
		return func(e *Env) { e.GPU = GPU{Enabled: true, Runtime: "nvidia", External: external} }
	}
	tests := []struct {
		name        string
		c           task.Container
		env         func(*Env)
		wantRuntime string
		wantEnv     bool
		wantDevices []container.DeviceRequest
	}{
		{name: "off", c: task.Container{GPUs: []string{"g1"}}},
		{name: "ec2", c: task.Container{GPUs: []string{"g1", "g2"}}, env: gpu(false), wantRuntime: "nvidia", wantEnv: true},
		{name: "external", c: task.Container{GPUs: []string{"g1"}}, env: gpu(true), wantDevices: []container.DeviceRequest{{DeviceIDs: []string{"g1"}, Capabilities: [][]string{{"gpu"}}}}},
		{name: "variable alone", c: task.Container{Environment: map[string]string{"NVIDIA_VISIBLE_DEVICES": "all"}}, env: gpu(false)},
		{name: "inferentia", c: task.Container{Environment: map[string]string{"AWS_NEURON_VISIBLE_DEVICES": "ALL"}}, env: func(e *Env) { e.Inferentia = true }, wantRuntime: "neuron"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Image = "i"
			spec, st := one(tt.c)
			env := linuxEnv()
			if tt.env != nil {
				tt.env(&env)
			}
			req, err := Build(spec, 0, st, Inputs{}, env)
			if err != nil {
				t.Fatal(err)
			}
			if req.HostConfig.Runtime != tt.wantRuntime {
				t.Errorf("runtime %q", req.HostConfig.Runtime)
			}
			if slices.Contains(req.Config.Env, "NVIDIA_VISIBLE_DEVICES=g1,g2") != tt.wantEnv {
				t.Errorf("env %q", req.Config.Env)
			}
			if diff := cmp.Diff(tt.wantDevices, req.HostConfig.DeviceRequests); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNames(t *testing.T) {
	spec := &task.Spec{Family: "shop", Version: "3",
		Containers: []task.Container{{Name: "web.api_1-x"}, {Name: "~internal~ecs~pause"}},
		Volumes:    []task.Volume{{Name: "v"}, {Name: "s", Type: task.VolumeDocker, Docker: &task.DockerVolume{Scope: "shared"}}}}
	max := func() uint64 { return math.MaxUint64 }
	b := New(Env{}, max)
	for got, want := range map[string]string{
		b.ContainerName(spec, 0):                  "ecs-shop-3-webapi1-x-feffffffffffffffff01",
		b.ContainerName(spec, 1):                  "ecs-shop-3-internalecspause-feffffffffffffffff01",
		Name(spec, 0, func() uint64 { return 1 }): "ecs-shop-3-webapi1-x-02000000000000000000",
		b.VolumeName(spec, 0):                     "ecs-shop-3-v-feffffffffffffffff01",
		b.VolumeName(spec, 1):                     "s",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func FuzzDockerConfig(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""}, {"null", "null"}, {"{", "[]"},
		{`{"Labels":{"a":"b"},"Env":["A=b"],"Cmd":"sh","Entrypoint":null}`, `{"NetworkMode":"bridge","LogConfig":{"Type":"awslogs","Config":null}}`},
		{`{"Healthcheck":{"Test":null}}`, `{"PortBindings":{"80/tcp":null},"Ulimits":[null],"Binds":null,"Memory":-1,"CpuShares":9223372036854775807}`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, config, host string) {
		for _, os := range []string{"linux", "windows"} {
			spec, st := one(task.Container{Image: "i", Command: []string{"c"}, DockerConfig: config, DockerHostConfig: host})
			env := linuxEnv()
			env.OS = os
			before := marshal(spec)
			req, err := Build(spec, 0, st, Inputs{}, env)
			if marshal(spec) != before {
				t.Fatal("Build changed the spec")
			}
			if err != nil {
				var reason *task.Error
				if !errors.As(err, &reason) || reason.Name == "" {
					t.Fatalf("unnamed error %v", err)
				}
				continue
			}
			if req.Config.Labels["com.amazonaws.ecs.task-arn"] != testARN {
				t.Fatal("no task label")
			}
		}
	})
}

// Texts of others show no value of a container's secrets.
func TestHide(t *testing.T) {
	in := Inputs{
		Secrets:    map[string]string{"A": "hunter2", "B": "hunter2 and more", "SHORT": "abc", "EMPTY": "", "Q": "say \"hi\""},
		EnvFiles:   map[string]string{"F": "of a file"},
		LogOptions: map[string]string{"max-size": "huge-size"},
	}
	for text, want := range map[string]string{
		"invalid size: 'huge-size'":         "invalid size: '[redacted]'",
		"hunter2 and more, hunter2, hunter": "[redacted], [redacted], hunter",
		`bad "say \"hi\"" and say "hi"`:     `bad "[redacted]" and [redacted]`,
		"abc of a file":                     "abc [redacted]",
		"no such image":                     "no such image",
	} {
		if got := in.Hide(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := new(Inputs).Hide("text"); got != "text" {
		t.Errorf("without secrets: %q", got)
	}
}
