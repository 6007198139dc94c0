// Package render turns a task definition with overrides into the task that an
// agent receives in a payload (docs/spec/01 section 2.9.3).
package render

import (
	"encoding/json"

	"ecsagent/controlplane/wire"
)

// Task is a task of a payload, with the members of docs/spec/01 section 2.9.3.
type Task struct {
	ARN                     string                `json:"arn"`
	TaskClusterARN          string                `json:"taskClusterArn"`
	Family                  string                `json:"family"`
	Version                 string                `json:"version"`
	Group                   string                `json:"group,omitempty"`
	DesiredStatus           string                `json:"desiredStatus"`
	LaunchType              string                `json:"launchType"`
	NetworkMode             string                `json:"networkMode"`
	PIDMode                 string                `json:"pidMode,omitempty"`
	IPCMode                 string                `json:"ipcMode,omitempty"`
	TaskDefinitionAccountID string                `json:"taskDefinitionAccountId"`
	CPU                     float64               `json:"cpu,omitempty"`    // vCPUs
	Memory                  int                   `json:"memory,omitempty"` // MiB
	Containers              []Container           `json:"containers"`
	Volumes                 []Volume              `json:"volumes"`
	Associations            []Association         `json:"associations,omitempty"`
	RoleCredentials         *wire.RoleCredentials `json:"roleCredentials,omitempty"`
	ExecutionCredentials    *wire.RoleCredentials `json:"executionRoleCredentials,omitempty"`
	EnableFaultInjection    bool                  `json:"enableFaultInjection,omitempty"`
	Proxy                   *Proxy                `json:"proxyConfiguration,omitempty"`

	Interfaces  []wire.NetworkInterface `json:"elasticNetworkInterfaces,omitempty"`
	Attachments []wire.Attachment       `json:"attachments,omitempty"`
}

// JSON encodes the task with a desired status and credentials, which change from
// one delivery to the next.
func (t Task) JSON(desired string, role, execution *wire.RoleCredentials) (json.RawMessage, error) {
	t.DesiredStatus, t.RoleCredentials, t.ExecutionCredentials = desired, role, execution
	return json.Marshal(t)
}

// Container is a container of a Task (docs/spec/01 section 2.9.4).
type Container struct {
	Name                   string            `json:"name"`
	ContainerARN           string            `json:"containerArn"`
	Image                  string            `json:"image"`
	Command                []string          `json:"command"`
	EntryPoint             []string          `json:"entryPoint"` // null means the image's
	Environment            map[string]string `json:"environment"`
	EnvironmentFiles       []EnvironmentFile `json:"environmentFiles,omitempty"`
	Essential              bool              `json:"essential"`
	CPU                    int               `json:"cpu"`
	Memory                 int               `json:"memory"`
	Links                  []string          `json:"links,omitempty"`
	PortMappings           []PortMapping     `json:"portMappings"`
	MountPoints            []MountPoint      `json:"mountPoints"`
	VolumesFrom            []VolumeFrom      `json:"volumesFrom"`
	Overrides              string            `json:"overrides"` // JSON in a string
	DockerConfig           DockerConfig      `json:"dockerConfig"`
	RegistryAuthentication *RegistryAuth     `json:"registryAuthentication,omitempty"`
	LogsAuthStrategy       string            `json:"logsAuthStrategy,omitempty"`
	Secrets                []Secret          `json:"secrets,omitempty"`
	DependsOn              []Dependency      `json:"dependsOn,omitempty"`
	StartTimeout           int               `json:"startTimeout,omitempty"` // seconds
	StopTimeout            int               `json:"stopTimeout,omitempty"`  // seconds
	Firelens               *Firelens         `json:"firelensConfiguration,omitempty"`
	HealthCheckType        string            `json:"healthCheckType,omitempty"`
	CredentialSpecs        []string          `json:"credentialSpecs,omitempty"`
	RestartPolicy          *RestartPolicy    `json:"restartPolicy,omitempty"`
	ManagedAgents          []ManagedAgent    `json:"managedAgents,omitempty"`
}

// DockerConfig carries Docker's own configuration as JSON in strings.
type DockerConfig struct {
	Version    string `json:"version"`
	Config     string `json:"config"`
	HostConfig string `json:"hostConfig"`
}

// EnvironmentFile is a file of variables.
type EnvironmentFile struct {
	Value string `json:"value"`
	Type  string `json:"type"`
}

// PortMapping has either a port or a range.
type PortMapping struct {
	ContainerPort      int    `json:"containerPort,omitempty"`
	HostPort           *int   `json:"hostPort,omitempty"`
	ContainerPortRange string `json:"containerPortRange,omitempty"`
	Protocol           string `json:"protocol"`
}

// MountPoint mounts a volume.
type MountPoint struct {
	SourceVolume  string `json:"sourceVolume"`
	ContainerPath string `json:"containerPath"`
	ReadOnly      bool   `json:"readOnly"`
}

// VolumeFrom mounts another container's volumes.
type VolumeFrom struct {
	SourceContainer string `json:"sourceContainer"`
	ReadOnly        bool   `json:"readOnly"`
}

// RegistryAuth says how to log in to the image's registry.
type RegistryAuth struct {
	Type string   `json:"type"` // ecr or asm
	ECR  *ECRAuth `json:"ecrAuthData,omitempty"`
	ASM  *ASMAuth `json:"asmAuthData,omitempty"`
}

// ECRAuth names an ECR registry.
type ECRAuth struct {
	RegistryID       string `json:"registryId"`
	Region           string `json:"region"`
	UseExecutionRole bool   `json:"useExecutionRole,omitempty"`
}

// ASMAuth names a secret with registry credentials.
type ASMAuth struct {
	CredentialsParameter string `json:"credentialsParameter"`
	Region               string `json:"region"`
}

// Secret is a value to be fetched.
type Secret struct {
	Name      string `json:"name"`
	ValueFrom string `json:"valueFrom"`
	Region    string `json:"region"`
	Provider  string `json:"provider"`
	Type      string `json:"type"`
	Target    string `json:"target"`
}

// Dependency makes a container wait for another.
type Dependency struct {
	ContainerName string `json:"containerName"`
	Condition     string `json:"condition"`
}

// Firelens marks the log router.
type Firelens struct {
	Type    string            `json:"type"`
	Options map[string]string `json:"options,omitempty"`
}

// ManagedAgent is an agent beside the container's process.
type ManagedAgent struct {
	Name       string            `json:"name"`
	Properties map[string]string `json:"properties"`
}

// RestartPolicy restarts a container in place.
type RestartPolicy struct {
	Enabled              bool  `json:"enabled"`
	IgnoredExitCodes     []int `json:"ignoredExitCodes"`
	RestartAttemptPeriod int   `json:"restartAttemptPeriod"` // seconds
}

// Volume is a volume of a Task (docs/spec/01 section 2.9.5).
type Volume struct {
	Name   string        `json:"name"`
	Type   string        `json:"type,omitempty"` // empty: an attachment has the rest
	Host   *HostVolume   `json:"host,omitempty"`
	Docker *DockerVolume `json:"dockerVolumeConfiguration,omitempty"`
	EFS    *EFSVolume    `json:"efsVolumeConfiguration,omitempty"`
	FSx    *FSxVolume    `json:"fsxWindowsFileServerVolumeConfiguration,omitempty"`
}

// HostVolume is a path of the host.
type HostVolume struct {
	SourcePath string `json:"sourcePath,omitempty"`
}

// DockerVolume is a Docker volume.
type DockerVolume struct {
	Scope         string            `json:"scope"`
	Autoprovision bool              `json:"autoprovision"`
	Driver        string            `json:"driver"`
	DriverOpts    map[string]string `json:"driverOpts,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
}

// EFSVolume is an Elastic File System.
type EFSVolume struct {
	FileSystemID          string            `json:"fileSystemId"`
	RootDirectory         string            `json:"rootDirectory"`
	TransitEncryption     string            `json:"transitEncryption,omitempty"`
	TransitEncryptionPort int               `json:"transitEncryptionPort,omitempty"`
	AuthorizationConfig   *EFSAuthorization `json:"authorizationConfig,omitempty"`
}

// EFSAuthorization says who may use the file system.
type EFSAuthorization struct {
	AccessPointID string `json:"accessPointId,omitempty"`
	IAM           string `json:"iam,omitempty"`
}

// FSxVolume is a file system of FSx for Windows File Server.
type FSxVolume struct {
	FileSystemID        string           `json:"fileSystemId"`
	RootDirectory       string           `json:"rootDirectory"`
	AuthorizationConfig FSxAuthorization `json:"authorizationConfig"`
}

// FSxAuthorization names credentials.
type FSxAuthorization struct {
	CredentialsParameter string `json:"credentialsParameter"`
	Domain               string `json:"domain"`
}

// Proxy is the App Mesh proxy of a task (docs/spec/01 section 2.9.7).
type Proxy struct {
	Type          string            `json:"type"`
	ContainerName string            `json:"containerName"`
	Properties    map[string]string `json:"properties"`
}

// Association gives a GPU to a container.
type Association struct {
	Containers []string           `json:"containers"`
	Content    AssociationContent `json:"content"`
	Name       string             `json:"name"`
	Type       string             `json:"type"`
}

// AssociationContent is the association's document.
type AssociationContent struct {
	Encoding string `json:"encoding"`
	Value    string `json:"value"`
}
