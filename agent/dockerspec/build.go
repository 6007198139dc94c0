package dockerspec

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/strslice"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Env is what the mapping needs to know of the host and of the agent's settings.
type Env struct {
	OS      string // linux or windows: the containers' operating system
	CPUs    int    // logical CPUs
	Cluster string // as configured
	Region  string

	// TaskMemory gives containers without a limit that of their task
	// (ECS_PROPAGATE_TASK_MEMORY_LIMIT_CGROUPV2 on cgroup v2).
	TaskMemory bool
	// CPUUnbounded and MemoryUnbounded are the Windows workarounds of section 4.3.
	CPUUnbounded    bool
	MemoryUnbounded bool
	// DisablePrivileged refuses privileged containers (ECS_DISABLE_PRIVILEGED).
	DisablePrivileged bool

	// KnowsCredentials reports whether the credentials of an id have arrived; nil
	// means that all have.
	KnowsCredentials func(id string) bool
	// LogsEndpoint gives the endpoint of CloudWatch Logs in a region; nil leaves the
	// choice to Docker. IPv6Only and OldEngine qualify it (section 4.5).
	LogsEndpoint func(region string, dualStack bool) (string, error)
	IPv6Only     bool
	OldEngine    bool // Docker before 18.09, which has no awslogs-endpoint

	GPU        GPU
	Inferentia bool
	FireLens   FireLens
	EFS        EFS
}

// FireLens is how containers reach the FireLens container of their task (docs/spec/02
// section 7.6).
type FireLens struct {
	Dir   string // DATADIR/firelens as the Docker daemon sees it; empty: there is no FireLens
	Async bool   // ECS_ENABLE_FIRELENS_ASYNC
	// OldEngine is Docker before 20.10, which has another name for the option.
	OldEngine bool
}

// GPU is how GPUs reach containers (docs/spec/02 section 4.8).
type GPU struct {
	Enabled  bool
	Runtime  string // ECS_NVIDIA_RUNTIME
	External bool   // ECS Anywhere: device requests instead of a runtime
}

// Names of failures (docs/spec/02 section 6.2).
const (
	nameHostConfig   = "HostConfigError"
	nameDockerConfig = "DockerClientConfigError"
	nameCreate       = "CannotCreateContainerError"
)

func failure(name, format string, args ...any) error {
	return &task.Error{Name: name, Message: fmt.Sprintf(format, args...)}
}

// Builder builds requests for one host. Its methods are safe for concurrent use
// when the functions of its Env are.
type Builder struct {
	env  Env
	rand func() uint64
}

// New makes a builder. rand gives the random part of names, e.g. math/rand/v2's
// Uint64.
func New(env Env, rand func() uint64) *Builder { return &Builder{env: env, rand: rand} }

// ContainerName chooses the Docker name of a container.
func (b *Builder) ContainerName(spec *task.Spec, i int) string { return Name(spec, i, b.rand) }

// VolumeName chooses the Docker name of a volume; a shared one keeps its own.
func (b *Builder) VolumeName(spec *task.Spec, i int) string { return VolumeName(spec, i, b.rand) }

// Build is the package's Build with the builder's Env.
func (b *Builder) Build(spec *task.Spec, i int, st *task.State, in Inputs) (runtime.CreateRequest, error) {
	return Build(spec, i, st, in, b.env)
}

// Build maps container i of a task to the request that creates it. Its errors are
// *task.Error.
func Build(spec *task.Spec, i int, st *task.State, in Inputs, env Env) (runtime.CreateRequest, error) {
	b := build{spec: spec, st: st, env: &env, in: in, i: i, c: &spec.Containers[i], cs: &st.Containers[i]}
	steps := []func() error{
		b.hostConfig, b.namespaces, b.devices, b.logs, b.connect,
		b.config, b.joinedNetwork,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return runtime.CreateRequest{}, err
		}
	}
	return runtime.CreateRequest{Name: b.cs.DockerName, Config: &b.cfg, HostConfig: &b.host}, nil
}

// build is one mapping under way.
type build struct {
	spec *task.Spec
	st   *task.State
	env  *Env
	i    int // of the container
	c    *task.Container
	cs   *task.ContainerState
	in   Inputs
	// router is where the FireLens container listens, for a container that logs to it.
	router string
	// pauses is the variable with the addresses of the task's containers, for a proxy.
	pauses string

	cfg  container.Config
	host container.HostConfig
}

// hostConfig makes the base of the HostConfig, decodes what ECS rendered on top and
// applies the overrides of the platform.
func (b *build) hostConfig() error {
	links, err := b.links()
	if err != nil {
		return err
	}
	volumesFrom, err := b.volumesFrom()
	if err != nil {
		return err
	}
	binds, err := b.binds()
	if err != nil {
		return err
	}
	bindings, err := b.portBindings()
	if err != nil {
		return err
	}
	b.host = container.HostConfig{
		Links: links, VolumesFrom: volumesFrom, Binds: binds, PortBindings: bindings,
		Resources: container.Resources{CPUShares: b.cpuShares(), Memory: b.memory()},
	}
	if err := decode(b.c.DockerHostConfig, &b.host); err != nil {
		return failure(nameHostConfig, "Unable to decode given host config: %s", err)
	}
	if b.host.Privileged && b.env.DisablePrivileged {
		return failure(nameHostConfig, "Privileged containers are disabled on this container instance")
	}
	b.platform()
	b.credentialSpec()
	b.supplementaryGroups()
	b.host.Binds = append(b.host.Binds, b.in.Binds...)
	return nil
}

// credentialSpec puts the security option that Docker knows in the place of the one that
// ECS renders (docs/spec/02 section 7.7).
func (b *build) credentialSpec() {
	b.host.SecurityOpt = slices.DeleteFunc(b.host.SecurityOpt, func(o string) bool {
		return strings.HasPrefix(o, "credentialspec:") || strings.HasPrefix(o, "credentialspecdomainless:")
	})
	if b.in.CredentialSpec != "" {
		b.host.SecurityOpt = append(b.host.SecurityOpt, b.in.CredentialSpec)
	}
}

// config makes the Config; it comes last because it shows what the other steps
// decided.
func (b *build) config() error {
	exposed, err := b.exposedPorts()
	if err != nil {
		return err
	}
	b.cfg = container.Config{
		Image:        b.c.Image,
		Cmd:          strslice.StrSlice(slices.Clone(b.c.Command)),
		Entrypoint:   strslice.StrSlice(slices.Clone(b.c.EntryPoint)),
		Env:          b.environment(),
		ExposedPorts: exposed,
		Labels:       maps.Clone(b.c.Labels),
	}
	if err := decode(b.c.DockerConfig, &b.cfg); err != nil {
		return failure(nameDockerConfig, "Unable decode given docker config: %s", err)
	}
	if b.c.HealthCheckType == "docker" && b.cfg.Healthcheck == nil {
		return failure(nameDockerConfig, "docker health check is nil while container health check type is DOCKER")
	}
	b.pauseConfig()
	b.labels()
	if b.in.MetadataFile != "" {
		b.cfg.Env = append(b.cfg.Env, "ECS_CONTAINER_METADATA_FILE="+b.in.MetadataFile)
	}
	return nil
}

// labels puts the labels by which the agent and others find the container over
// those of the definition.
func (b *build) labels() {
	if b.cfg.Labels == nil {
		b.cfg.Labels = make(map[string]string)
	}
	maps.Copy(b.cfg.Labels, map[string]string{
		runtime.LabelTaskARN:       b.spec.ARN,
		runtime.LabelContainerName: b.c.Name,
		runtime.LabelFamily:        b.spec.Family,
		runtime.LabelVersion:       b.spec.Version,
		runtime.LabelCluster:       b.env.Cluster,
	})
}

// decode reads one of the JSON documents of ECS on top of a base: members replace,
// maps merge key by key, null clears.
func decode(document string, base any) error {
	if document == "" {
		return nil
	}
	return json.Unmarshal([]byte(document), base)
}
