package task

import (
	"strings"
	"time"
)

// Spec is a task as ECS asked for it (docs/spec/01 section 2.9.3), normalised by
// the decoder in package acs. It is immutable: it is shared between goroutines
// without locks.
type Spec struct {
	ARN         string
	Family      string
	Version     string // revision of the task definition, a decimal number
	ServiceName string `json:",omitempty"`
	Group       string `json:",omitempty"`
	LaunchType  string `json:",omitempty"` // EC2 or EXTERNAL

	CPU    float64 `json:",omitempty"` // limit in vCPUs; 0 means none
	Memory int64   `json:",omitempty"` // limit in MiB; 0 means none

	NetworkMode string // bridge, host, none or awsvpc; empty when ECS sent a word we do not know
	PIDMode     string `json:",omitempty"` // host, task or empty
	IPCMode     string `json:",omitempty"` // host, task, none or empty

	Containers []Container
	Volumes    []Volume `json:",omitempty"`
	// Resources are what the engine's hooks found that the task needs, when it was
	// accepted.
	Resources []Resource `json:",omitempty"`

	// Ids of the credential sets that came with the task. The secrets themselves
	// are in package credentials and never in a Spec.
	CredentialsID          string `json:",omitempty"`
	ExecutionCredentialsID string `json:",omitempty"`

	ENIs                 []ENI         `json:",omitempty"` // the first is primary
	Proxy                *Proxy        `json:",omitempty"`
	Connect              *Connect      `json:",omitempty"` // from Attachments, when the task was accepted
	Associations         []Association `json:",omitempty"`
	Attachments          []Attachment  `json:",omitempty"`
	EnableFaultInjection bool          `json:",omitempty"`
}

// ID returns the last path segment of the task's ARN.
func (s *Spec) ID() string { return s.ARN[strings.LastIndexByte(s.ARN, '/')+1:] }

// IsInternal reports whether an ARN is that of a task which an agent runs for itself, such as
// a managed daemon: ECS knows none of them (docs/spec/02 section 10.2).
func IsInternal(arn string) bool { return strings.HasPrefix(arn, "arn:::::/") }

// Published are the port mappings of container i that take ports of the host: none where
// the task has a network of its own, in which ports are its own too, and none of a
// container whose pause container has them.
func (s *Spec) Published(i int) []PortMapping {
	if s.NetworkMode == "awsvpc" || s.ConnectsBridged() && !s.Containers[i].Internal() {
		return nil
	}
	return s.Containers[i].Ports
}

// ConnectsBridged reports whether this is a task with Service Connect in network mode
// bridge: each of its containers has a pause container of its own (docs/spec/05 section
// 6.7).
func (s *Spec) ConnectsBridged() bool { return s.Connect != nil && s.NetworkMode == "bridge" }

// NetworkOf is the position of the container whose network container i joins, or -1.
func (s *Spec) NetworkOf(i int) int {
	switch {
	case s.Containers[i].Internal():
		return -1
	case s.ConnectsBridged():
		return s.Index(ConnectPauseName(s.Containers[i].Name))
	}
	return s.NetworkContainer()
}

// Index returns the position of the named container in Containers, or -1.
func (s *Spec) Index(container string) int {
	for i := range s.Containers {
		if s.Containers[i].Name == container {
			return i
		}
	}
	return -1
}

// NetworkContainer is the position of the container that holds the task's own network, or
// -1.
func (s *Spec) NetworkContainer() int {
	if s.ConnectsBridged() {
		return -1 // each container has its own
	}
	for i := range s.Containers {
		if s.Containers[i].Type == CNIPause {
			return i
		}
	}
	return -1
}

// ContainerType tells containers of the task definition from those that the agent
// adds (docs/spec/02 section 1.7).
type ContainerType string

// Container types. Everything but Normal is internal: never reported to ECS.
const (
	Normal         ContainerType = ""
	CNIPause       ContainerType = "CNI_PAUSE"
	NamespacePause ContainerType = "NAMESPACE_PAUSE"
)

// Container is one container of a Spec (docs/spec/01 section 2.9.4).
type Container struct {
	Name  string
	ARN   string        `json:",omitempty"`
	Type  ContainerType `json:",omitempty"`
	Image string
	Local bool `json:",omitempty"` // the agent puts the image there; it is never pulled

	Command     []string          `json:",omitempty"` // CMD, overrides applied
	EntryPoint  []string          `json:",omitzero"`  // nil means the image's, empty none
	Environment map[string]string `json:",omitempty"`
	EnvFiles    []EnvFile         `json:",omitempty"`
	Secrets     []Secret          `json:",omitempty"`

	Essential bool
	CPU       int64 `json:",omitempty"` // CPU shares; 1024 is one CPU
	Memory    int64 `json:",omitempty"` // hard limit in MiB; 0 means none

	Links        []string      `json:",omitempty"` // name or name:alias
	Ports        []PortMapping `json:",omitempty"`
	MountPoints  []MountPoint  `json:",omitempty"`
	VolumesFrom  []VolumeFrom  `json:",omitempty"`
	DependsOn    []Dependency  `json:",omitempty"`
	StartTimeout time.Duration `json:",omitempty"` // how long dependents wait for it; 0 means no limit
	StopTimeout  time.Duration `json:",omitempty"` // SIGTERM to SIGKILL; 0 means the agent's default

	// DockerVersion, DockerConfig and DockerHostConfig are the Docker API version
	// and the JSON documents that ECS renders for this container (docs/spec/02
	// section 4.1). They are decoded when the container is created, so that a bad
	// one fails that container with its specified error.
	DockerVersion    string `json:",omitempty"`
	DockerConfig     string `json:",omitempty"`
	DockerHostConfig string `json:",omitempty"`

	RegistryAuth     *RegistryAuth     `json:",omitempty"`
	LogsAuthStrategy string            `json:",omitempty"` // "ExecutionRole" or other words, ignored
	HealthCheckType  string            `json:",omitempty"` // "docker" when health is reported to ECS
	FireLens         *FireLens         `json:",omitempty"`
	ManagedAgents    []ManagedAgent    `json:",omitempty"`
	CredentialSpecs  []string          `json:",omitempty"`
	Restart          *RestartPolicy    `json:",omitempty"`
	GPUs             []string          `json:",omitempty"` // ids, from Associations
	Labels           map[string]string `json:",omitempty"` // reserved for the agent's own containers
}

// Internal reports whether the agent added the container itself.
func (c *Container) Internal() bool { return c.Type != Normal }

// Pulled reports whether the container's image is pulled.
func (c *Container) Pulled() bool { return !c.Internal() && !c.Local }

// SteadyStatus is the status in which the container stays until it is stopped.
func (c *Container) SteadyStatus() ContainerStatus {
	if c.Type == CNIPause {
		return ContainerResourcesProvisioned
	}
	return ContainerRunning
}

// Protocol is a transport protocol, "tcp" or "udp".
type Protocol string

// Protocols that ECS knows.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// PortMapping maps a port or a range of ports of a container to the host
// (docs/spec/02 section 4.6).
type PortMapping struct {
	ContainerPort uint16 `json:",omitempty"` // 0 when Range is set
	HostPort      uint16 `json:",omitempty"` // 0 means that the agent chooses
	Range         string `json:",omitempty"` // "8000-8010", instead of ContainerPort
	Protocol      Protocol
}

// MountPoint mounts a volume of the task into a container.
type MountPoint struct {
	SourceVolume  string
	ContainerPath string
	ReadOnly      bool `json:",omitempty"`
}

// VolumeFrom mounts the volumes of another container of the task.
type VolumeFrom struct {
	SourceContainer string
	ReadOnly        bool `json:",omitempty"`
}

// Dependency makes a container wait for another one of its task.
type Dependency struct {
	Container string
	Condition Condition
}

// EnvFile names a file of environment variables.
type EnvFile struct {
	Value string // an S3 ARN
	Type  string // "s3"
}

// Secret names a value that is fetched when the container is created.
type Secret struct {
	Name          string
	ValueFrom     string
	Region        string `json:",omitempty"`
	Provider      string // ssm or asm
	Type          string // ENVIRONMENT_VARIABLE, MOUNT_POINT or BOOTSTRAP
	Target        string `json:",omitempty"` // CONTAINER or LOG_DRIVER
	ContainerPath string `json:",omitempty"`
}

// RegistryAuth says how to log in to the registry of an image.
type RegistryAuth struct {
	Type string   // ecr or asm
	ECR  *ECRAuth `json:",omitempty"`
	ASM  *ASMAuth `json:",omitempty"`
}

// ECRAuth names an ECR registry.
type ECRAuth struct {
	RegistryID       string
	Region           string
	EndpointOverride string `json:",omitempty"`
	UseExecutionRole bool   `json:",omitempty"`
}

// ASMAuth names a Secrets Manager secret with registry credentials.
type ASMAuth struct {
	CredentialsParameter string
	Region               string
}

// FireLens marks a container as the task's log router.
type FireLens struct {
	Type    string // FluentD or FluentBit
	Options map[string]string
}

// ManagedAgent asks for an agent that runs beside the container's process.
type ManagedAgent struct {
	Name       string
	Properties map[string]string
}

// RestartPolicy restarts a container in place (docs/spec/02 section 8.3).
type RestartPolicy struct {
	Enabled          bool
	IgnoredExitCodes []int
	AttemptPeriod    time.Duration
}

// Volume kinds as ECS names them.
const (
	VolumeHost   = "host"
	VolumeDocker = "docker"
	VolumeEFS    = "efs"
	VolumeFSx    = "fsxWindowsFileServer"
	VolumeEBS    = "amazonebs"
	VolumeS3     = "s3files"
)

// Volume is storage that containers of the task mount by name (docs/spec/01
// section 2.9.5). The pointer that goes with Type is set.
type Volume struct {
	Name   string
	Type   string
	Host   *HostVolume   `json:",omitempty"`
	Docker *DockerVolume `json:",omitempty"`
	EFS    *EFSVolume    `json:",omitempty"`
	FSx    *FSxVolume    `json:",omitempty"`
	// Properties are those of the attachment behind an EBS or S3 Files volume.
	Properties map[string]string `json:",omitempty"`
}

// HostVolume is a path of the host, or an agent-managed local Docker volume when
// SourcePath is empty.
type HostVolume struct {
	SourcePath string `json:",omitempty"`
}

// DockerVolume is a Docker volume.
type DockerVolume struct {
	Scope         string // task or shared
	Autoprovision bool   `json:",omitempty"`
	Driver        string
	DriverOpts    map[string]string `json:",omitempty"`
	Labels        map[string]string `json:",omitempty"`
}

// EFSVolume is an Elastic File System.
type EFSVolume struct {
	FileSystemID          string
	RootDirectory         string `json:",omitempty"`
	TransitEncryption     string `json:",omitempty"` // ENABLED or DISABLED
	TransitEncryptionPort int64  `json:",omitempty"`
	AccessPointID         string `json:",omitempty"`
	IAM                   string `json:",omitempty"` // ENABLED or DISABLED
}

// FSxVolume is a file system of FSx for Windows File Server.
type FSxVolume struct {
	FileSystemID         string
	RootDirectory        string
	CredentialsParameter string
	Domain               string
}

// ENI is an elastic network interface of the task (docs/spec/01 section 2.9.6).
type ENI struct {
	EC2ID               string
	AttachmentARN       string `json:",omitempty"`
	MAC                 string
	IPv4                []Address `json:",omitempty"`
	IPv6                []Address `json:",omitempty"`
	SubnetGatewayIPv4   string    `json:",omitempty"` // address/prefix
	SubnetGatewayIPv6   string    `json:",omitempty"`
	DomainNames         []string  `json:",omitempty"`
	DomainNameServers   []string  `json:",omitempty"`
	PrivateDNSName      string    `json:",omitempty"`
	AssociationProtocol string    `json:",omitempty"` // default or vlan
	VLANID              string    `json:",omitempty"`
	TrunkMAC            string    `json:",omitempty"`
}

// Address is an address of an ENI.
type Address struct {
	Address string
	Primary bool `json:",omitempty"`
}

// Proxy is the App Mesh proxy configuration of a task.
type Proxy struct {
	ContainerName string
	Properties    map[string]string
}

// Association gives a device or another thing to containers of the task.
type Association struct {
	Name       string
	Type       string
	Value      string
	Encoding   string
	Containers []string
}

// Attachment is a typed bag of properties that came with the task.
type Attachment struct {
	ARN        string `json:",omitempty"`
	Type       string
	Properties map[string]string
}
