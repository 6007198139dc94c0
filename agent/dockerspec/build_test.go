package dockerspec

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/task"
)

const testARN = "arn:aws:ecs:eu-west-1:111122223333:task/demo/0123456789abcdef0123456789abcdef"

func linuxEnv() Env {
	return Env{OS: "linux", CPUs: 2, Cluster: "demo", Region: "eu-west-1"}
}

// one is a task of one container with its state.
func one(c task.Container) (*task.Spec, *task.State) {
	if c.Name == "" {
		c.Name = "a"
	}
	spec := &task.Spec{ARN: testARN, Family: "shop", Version: "3", NetworkMode: "bridge", Containers: []task.Container{c}}
	return spec, &task.State{Containers: []task.ContainerState{{DockerName: "ecs-shop-3-a-00", EndpointID: "5b0c"}}}
}

// body is the request as it goes to Docker, without zero members.
func body(t *testing.T, config *container.Config, host *container.HostConfig) map[string]any {
	t.Helper()
	raw, err := json.Marshal(container.CreateRequest{Config: config, HostConfig: host, NetworkingConfig: &network.NetworkingConfig{}})
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// dropZero removes the members that Docker treats as absent, except those that
// want keeps.
func dropZero(m, want map[string]any) {
	for k, v := range m {
		if _, ok := want[k]; ok {
			if sub, ok := v.(map[string]any); ok {
				if wantSub, ok := want[k].(map[string]any); ok {
					dropZero(sub, wantSub)
				}
			}
			continue
		}
		if v == nil || reflect.ValueOf(v).IsZero() || slices.Contains([]string{`[]`, `{}`, `[0,0]`}, marshal(v)) {
			delete(m, k)
		}
	}
}

func marshal(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func workedExample() (*task.Spec, *task.State, Inputs) {
	spec := &task.Spec{
		ARN: testARN, Family: "shop", Version: "3", NetworkMode: "bridge", CPU: 0.25, Memory: 512, CredentialsID: "7f3a",
		Containers: []task.Container{{
			Name: "web.api_1", Image: "registry.example/shop:3", CPU: 1, Memory: 96,
			EntryPoint: []string{"sh", "-c"}, Command: []string{"run"},
			Environment: map[string]string{"MODE": "a"},
			Links:       []string{"cache:kv", "cache"},
			VolumesFrom: []task.VolumeFrom{{SourceContainer: "cache", ReadOnly: true}},
			Ports: []task.PortMapping{
				{ContainerPort: 8080, Protocol: task.TCP}, {ContainerPort: 5353, Protocol: task.UDP},
				{ContainerPort: 7070, HostPort: 7070, Protocol: task.TCP}, {Range: "9000-9001", Protocol: task.TCP},
			},
			MountPoints: []task.MountPoint{
				{SourceVolume: "in", ContainerPath: "/in", ReadOnly: true}, {SourceVolume: "scratch", ContainerPath: "/tmp/x"},
			},
			HealthCheckType: "docker",
			DockerConfig: `{"Hostname":"h1","User":"1000","Tty":true,"OpenStdin":true,"WorkingDir":"/srv","Labels":{"team":"a","com.amazonaws.ecs.cluster":"mine"},
				"Healthcheck":{"Test":["CMD-SHELL","probe"],"Interval":5000000000,"Timeout":2000000000,"Retries":3}}`,
			DockerHostConfig: `{"NetworkMode":"bridge","LogConfig":{"Type":"gelf","Config":{"mode":"non-blocking","gelf-address":"udp://192.0.2.9:12201"}}}`,
		}, {Name: "cache", Image: "cache"}},
		Volumes: []task.Volume{
			{Name: "in", Type: task.VolumeHost, Host: &task.HostVolume{SourcePath: "/srv/in"}},
			{Name: "scratch", Type: task.VolumeHost, Host: &task.HostVolume{}},
		},
	}
	st := &task.State{
		Containers: []task.ContainerState{
			{DockerName: "ecs-shop-3-webapi1-9ac2e1f0b7d4c8a6e501", EndpointID: "5b0c", HostPorts: []uint16{32768, 32769, 0, 32770}},
			{DockerName: "ecs-shop-3-cache-d0e2f4a6b8c1d3e5f701", RuntimeID: "c"},
		},
		Volumes: []task.VolumeState{{}, {DockerName: "ecs-shop-3-scratch-b2f4a6c8e0d1f3a5c700"}},
	}
	return spec, st, Inputs{
		ImageEnv:     []string{"PATH=/bin"},
		CgroupParent: "/ecs/" + spec.ID(),
		Secrets:      map[string]string{"DB_PASS": "s3cr3t"},
		LogOptions:   map[string]string{"tag": "from-secret", "unset": ""},
		MetadataFile: "/opt/ecs/metadata/0e9d/ecs-container-metadata.json",
		Binds:        []string{"/var/lib/ecs//data/metadata/demo/0123/web.api_1:/opt/ecs/metadata/0e9d"},
	}
}

// The worked example of docs/spec/02 section 4.12.
func TestWorkedExample(t *testing.T) {
	raw, err := os.ReadFile("testdata/worked_example.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	spec, st, in := workedExample()
	before := marshal(spec)
	req, err := Build(spec, 0, st, in, linuxEnv())
	if err != nil {
		t.Fatal(err)
	}
	got := body(t, req.Config, req.HostConfig)
	dropZero(got, want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("create body (-want +got):\n%s", diff)
	}
	if req.Name != "ecs-shop-3-webapi1-9ac2e1f0b7d4c8a6e501" {
		t.Errorf("name %q", req.Name)
	}
	if marshal(spec) != before {
		t.Error("Build changed the spec")
	}
}

// An empty definition: the members that are present though empty, and those that
// must be absent (docs/spec/02 section 4.12).
func TestEmptyMembers(t *testing.T) {
	spec, st := one(task.Container{Image: "i"})
	req, err := Build(spec, 0, st, Inputs{}, linuxEnv())
	if err != nil {
		t.Fatal(err)
	}
	got := body(t, req.Config, req.HostConfig)
	host := got["HostConfig"].(map[string]any)
	for member, want := range map[string]string{"Binds": "[]", "Links": "[]", "VolumesFrom": "[]", "PortBindings": "{}"} {
		if marshal(host[member]) != want {
			t.Errorf("%s is %s, want %s", member, marshal(host[member]), want)
		}
	}
	if _, ok := got["ExposedPorts"]; ok {
		t.Error("ExposedPorts is present")
	}
	if len(req.Config.Cmd) != 0 || req.Config.Entrypoint != nil {
		t.Errorf("Cmd %q Entrypoint %q", req.Config.Cmd, req.Config.Entrypoint)
	}
}

// ECS's JSON: scalars and lists replace, maps merge, null clears, and neither
// reaches into the spec's own slices and maps.
func TestDecodeOnTop(t *testing.T) {
	spec, st := one(task.Container{
		Image: "i", Command: []string{"a", "b"}, CPU: 512, Memory: 64,
		Labels:       map[string]string{"mine": "1"},
		Ports:        []task.PortMapping{{ContainerPort: 80, HostPort: 8080, Protocol: task.TCP}},
		DockerConfig: `{"Cmd":["z"],"Labels":{"theirs":"2"},"ExposedPorts":{"443/tcp":{}},"image":"other"}`,
		DockerHostConfig: `{"CpuShares":7,"Memory":null,"MemoryReservation":1048576,"PortBindings":null,"NetworkMode":"host",
			"Ulimits":[{"Name":"nofile","Soft":1,"Hard":2}],"CapAdd":["SYS_PTRACE"],"Tmpfs":{"/t":"size=1m"},"Sysctls":{"net.core.somaxconn":"1"},"unknown":1}`,
	})
	req, err := Build(spec, 0, st, Inputs{}, linuxEnv())
	if err != nil {
		t.Fatal(err)
	}
	c, h := req.Config, req.HostConfig
	if !slices.Equal(c.Cmd, []string{"z"}) || c.Image != "other" || c.Labels["mine"] != "1" || c.Labels["theirs"] != "2" {
		t.Errorf("config %+v", c)
	}
	if len(c.ExposedPorts) != 2 || h.PortBindings != nil {
		t.Errorf("ports %v %v", c.ExposedPorts, h.PortBindings)
	}
	if h.CPUShares != 7 || h.Memory != 64*mebibyte || h.MemoryReservation != 1<<20 || h.NetworkMode != "host" {
		t.Errorf("limits %+v %q", h.Resources, h.NetworkMode)
	}
	if len(h.Ulimits) != 1 || len(h.CapAdd) != 1 || h.Tmpfs["/t"] != "size=1m" || h.Sysctls["net.core.somaxconn"] != "1" {
		t.Errorf("host config %+v", h)
	}
	if !slices.Equal(spec.Containers[0].Command, []string{"a", "b"}) || len(spec.Containers[0].Labels) != 1 {
		t.Error("the spec changed")
	}
}

func TestErrors(t *testing.T) {
	mount := func(volume, path string) []task.MountPoint {
		return []task.MountPoint{{SourceVolume: volume, ContainerPath: path}}
	}
	tests := []struct {
		name string
		c    task.Container
		env  func(*Env)
		want string
	}{
		{"host config", task.Container{DockerHostConfig: "{"}, nil, "HostConfigError: Unable to decode given host config: unexpected end of JSON input"},
		{"config", task.Container{DockerConfig: `{"Tty":1}`}, nil, "DockerClientConfigError: Unable decode given docker config: json: cannot unmarshal number into Go struct field Config.Tty of type bool"},
		{"health check", task.Container{HealthCheckType: "docker"}, nil, "DockerClientConfigError: docker health check is nil while container health check type is DOCKER"},
		{"unknown volume", task.Container{MountPoints: mount("v", "/x")}, nil, "HostConfigError: Invalid volume referenced: v"},
		{"no path", task.Container{MountPoints: mount("src", "")}, nil, "HostConfigError: Unable to resolve volume mounts; invalid path: a src; /src -> "},
		{"no source", task.Container{MountPoints: mount("empty", "/x")}, nil, "HostConfigError: Unable to resolve volume mounts; invalid path: a empty;  -> /x"},
		{"range", task.Container{Ports: []task.PortMapping{{Range: "80-x", Protocol: task.TCP}}}, nil, `HostConfigError: error retrieving docker port map: strconv.ParseUint: parsing "x": invalid syntax`},
		{"link", task.Container{Links: []string{"b:c"}}, nil, "HostConfigError: Link target not available: b"},
		{"volumesFrom", task.Container{VolumesFrom: []task.VolumeFrom{{SourceContainer: "b"}}}, nil, "HostConfigError: Volume target not available: b"},
		{"log auth", task.Container{LogsAuthStrategy: "ExecutionRole"}, nil, "HostConfigError: No execution credentials set for the task"},
		{"firelens", task.Container{DockerHostConfig: `{"LogConfig":{"Type":"awsfirelens"}}`}, nil, "CannotCreateContainerError: log driver awsfirelens: the task has no FireLens container"},
		{"privileged", task.Container{DockerHostConfig: `{"Privileged":true}`}, func(e *Env) { e.DisablePrivileged = true }, "HostConfigError: Privileged containers are disabled on this container instance"},
		{"gpu runtime", task.Container{GPUs: []string{"g"}}, func(e *Env) { e.GPU.Enabled = true }, "HostConfigError: Runtime is not set for GPU containers"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Image = "i"
			spec, st := one(tt.c)
			spec.Volumes = []task.Volume{
				{Name: "src", Type: task.VolumeHost, Host: &task.HostVolume{SourcePath: "/src"}},
				{Name: "empty", Type: task.VolumeHost, Host: &task.HostVolume{}},
			}
			env := linuxEnv()
			if tt.env != nil {
				tt.env(&env)
			}
			_, err := Build(spec, 0, st, Inputs{}, env)
			var reason *task.Error
			if !errors.As(err, &reason) || reason.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	tests := []struct {
		name                                string
		cpu, memory, taskMemory             int64
		json                                string
		env                                 func(*Env)
		wantShares, wantPercent, wantMemory int64
		wantReservation                     int64
	}{
		{name: "zero", wantShares: 2},
		{name: "one", cpu: 1, wantShares: 2},
		{name: "plain", cpu: 128, memory: 256, wantShares: 128, wantMemory: 256 << 20},
		{name: "too much", cpu: 262145, wantShares: 262144},
		{name: "small memory", memory: 3, wantShares: 2, wantMemory: 4 << 20},
		{name: "task memory off", taskMemory: 512, wantShares: 2},
		{name: "task memory", taskMemory: 512, env: func(e *Env) { e.TaskMemory = true }, wantShares: 2, wantMemory: 512 << 20},
		{name: "own memory first", memory: 64, taskMemory: 512, env: func(e *Env) { e.TaskMemory = true }, wantShares: 2, wantMemory: 64 << 20},
		{name: "windows zero", env: windows, wantPercent: 1},
		{name: "windows half", cpu: 1024, memory: 100, env: windows, wantPercent: 50, wantMemory: 256 << 20},
		{name: "windows no cap", cpu: 1024 * 2 * 4, env: windows, wantPercent: 400},
		{name: "windows unbounded", env: func(e *Env) { windows(e); e.CPUUnbounded = true }},
		{name: "windows unbounded one", cpu: 1, env: func(e *Env) { windows(e); e.CPUUnbounded = true }, wantPercent: 1},
		{name: "windows json", cpu: 1024, json: `{"CpuShares":2048}`, env: windows, wantPercent: 100},
		{name: "windows reservation", json: `{"MemoryReservation":5}`, env: windows, wantPercent: 1, wantReservation: 5},
		{name: "windows memory unbounded", json: `{"MemoryReservation":5}`, env: func(e *Env) { windows(e); e.MemoryUnbounded = true }, wantPercent: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, st := one(task.Container{Image: "i", CPU: tt.cpu, Memory: tt.memory, DockerHostConfig: tt.json})
			spec.Memory = tt.taskMemory
			env := linuxEnv()
			if tt.env != nil {
				tt.env(&env)
			}
			req, err := Build(spec, 0, st, Inputs{}, env)
			if err != nil {
				t.Fatal(err)
			}
			got := req.HostConfig.Resources
			if got.CPUShares != tt.wantShares || got.CPUPercent != tt.wantPercent || got.Memory != tt.wantMemory || got.MemoryReservation != tt.wantReservation {
				t.Errorf("shares %d percent %d memory %d reservation %d", got.CPUShares, got.CPUPercent, got.Memory, got.MemoryReservation)
			}
		})
	}
}

func windows(e *Env) { e.OS = "windows" }

func TestEnvironment(t *testing.T) {
	tests := []struct {
		name         string
		env          map[string]string
		image        []string
		region       string
		files        map[string]string
		want, absent []string
	}{
		{name: "region", region: "eu-west-1", want: []string{"AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1"}},
		{name: "no region", absent: []string{"AWS_REGION", "AWS_DEFAULT_REGION"}},
		{name: "definition sets one", region: "r", env: map[string]string{"AWS_DEFAULT_REGION": "x"}, want: []string{"AWS_DEFAULT_REGION=x"}, absent: []string{"AWS_REGION"}},
		{name: "image sets one, empty", region: "r", image: []string{"AWS_REGION="}, absent: []string{"AWS_REGION", "AWS_DEFAULT_REGION"}},
		{name: "file sets one", region: "r", files: map[string]string{"AWS_REGION": "f"}, want: []string{"AWS_REGION=f"}, absent: []string{"AWS_DEFAULT_REGION"}},
		{name: "file gives way", env: map[string]string{"K": "definition"}, files: map[string]string{"K": "file", "L": "file"}, want: []string{"K=definition", "L=file"}},
		{name: "agent wins", env: map[string]string{"ECS_AGENT_URI": "x"}, want: []string{"ECS_AGENT_URI=http://169.254.170.2/api/5b0c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, st := one(task.Container{Image: "i", Environment: tt.env})
			env := linuxEnv()
			env.Region = tt.region
			req, err := Build(spec, 0, st, Inputs{ImageEnv: tt.image, EnvFiles: tt.files}, env)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.IsSorted(req.Config.Env) {
				t.Errorf("not sorted: %q", req.Config.Env)
			}
			for _, kv := range tt.want {
				if !slices.Contains(req.Config.Env, kv) {
					t.Errorf("%q is not in %q", kv, req.Config.Env)
				}
			}
			for _, k := range tt.absent {
				if slices.ContainsFunc(req.Config.Env, func(kv string) bool { return strings.HasPrefix(kv, k+"=") }) {
					t.Errorf("%q is in %q", k, req.Config.Env)
				}
			}
		})
	}
}

func TestTaskRole(t *testing.T) {
	const variable = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/id"
	for _, known := range []bool{true, false} {
		spec, st := one(task.Container{Image: "i"})
		spec.CredentialsID = "id"
		env := linuxEnv()
		env.KnowsCredentials = func(id string) bool { return known && id == "id" }
		req, err := Build(spec, 0, st, Inputs{}, env)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(req.Config.Env, variable) != known {
			t.Errorf("known %v: %q", known, req.Config.Env)
		}
	}
}
