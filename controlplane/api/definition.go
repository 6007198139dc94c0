package api

// TaskDefinition is a registered revision of a task definition.
type TaskDefinition struct {
	TaskDefinitionARN       string                 `json:"taskDefinitionArn"`
	ContainerDefinitions    []ContainerDefinition  `json:"containerDefinitions"`
	Family                  string                 `json:"family"`
	TaskRoleARN             string                 `json:"taskRoleArn,omitempty"`
	ExecutionRoleARN        string                 `json:"executionRoleArn,omitempty"`
	NetworkMode             string                 `json:"networkMode,omitempty"`
	Revision                int                    `json:"revision"`
	Volumes                 []Volume               `json:"volumes"`
	Status                  string                 `json:"status"`
	RequiresAttributes      []Attribute            `json:"requiresAttributes,omitempty"`
	PlacementConstraints    []PlacementConstraint  `json:"placementConstraints"`
	Compatibilities         []string               `json:"compatibilities,omitempty"`
	RuntimePlatform         *RuntimePlatform       `json:"runtimePlatform,omitempty"`
	RequiresCompatibilities []string               `json:"requiresCompatibilities,omitempty"`
	CPU                     string                 `json:"cpu,omitempty"`
	Memory                  string                 `json:"memory,omitempty"`
	InferenceAccelerators   []InferenceAccelerator `json:"inferenceAccelerators,omitempty"`
	PIDMode                 string                 `json:"pidMode,omitempty"`
	IPCMode                 string                 `json:"ipcMode,omitempty"`
	ProxyConfiguration      *ProxyConfiguration    `json:"proxyConfiguration,omitempty"`
	RegisteredAt            Time                   `json:"registeredAt,omitzero"`
	DeregisteredAt          Time                   `json:"deregisteredAt,omitzero"`
	DeleteRequestedAt       Time                   `json:"deleteRequestedAt,omitzero"`
	RegisteredBy            string                 `json:"registeredBy,omitempty"`
	EphemeralStorage        *EphemeralStorage      `json:"ephemeralStorage,omitempty"`
	EnableFaultInjection    *bool                  `json:"enableFaultInjection,omitempty"`
}

// RegisterTaskDefinitionRequest is a task definition as its owner writes it.
type RegisterTaskDefinitionRequest struct {
	Family                  string                 `json:"family"`
	TaskRoleARN             string                 `json:"taskRoleArn,omitempty"`
	ExecutionRoleARN        string                 `json:"executionRoleArn,omitempty"`
	NetworkMode             string                 `json:"networkMode,omitempty"`
	ContainerDefinitions    []ContainerDefinition  `json:"containerDefinitions"`
	Volumes                 []Volume               `json:"volumes,omitempty"`
	PlacementConstraints    []PlacementConstraint  `json:"placementConstraints,omitempty"`
	RequiresCompatibilities []string               `json:"requiresCompatibilities,omitempty"`
	CPU                     string                 `json:"cpu,omitempty"`
	Memory                  string                 `json:"memory,omitempty"`
	Tags                    []Tag                  `json:"tags,omitempty"`
	PIDMode                 string                 `json:"pidMode,omitempty"`
	IPCMode                 string                 `json:"ipcMode,omitempty"`
	ProxyConfiguration      *ProxyConfiguration    `json:"proxyConfiguration,omitempty"`
	InferenceAccelerators   []InferenceAccelerator `json:"inferenceAccelerators,omitempty"`
	EphemeralStorage        *EphemeralStorage      `json:"ephemeralStorage,omitempty"`
	RuntimePlatform         *RuntimePlatform       `json:"runtimePlatform,omitempty"`
	EnableFaultInjection    *bool                  `json:"enableFaultInjection,omitempty"`
}

// ContainerDefinition describes one container of a task definition. Absent
// numbers that differ in meaning from 0 are pointers.
type ContainerDefinition struct {
	Name                   string                 `json:"name"`
	Image                  string                 `json:"image"`
	RepositoryCredentials  *RepositoryCredentials `json:"repositoryCredentials,omitempty"`
	CPU                    int                    `json:"cpu"`              // CPU units
	Memory                 int                    `json:"memory,omitempty"` // MiB; 0 means none
	MemoryReservation      int                    `json:"memoryReservation,omitempty"`
	Links                  []string               `json:"links,omitempty"`
	PortMappings           []PortMapping          `json:"portMappings"`
	Essential              *bool                  `json:"essential,omitempty"` // true when absent
	RestartPolicy          *RestartPolicy         `json:"restartPolicy,omitempty"`
	EntryPoint             []string               `json:"entryPoint,omitempty"`
	Command                []string               `json:"command,omitempty"`
	Environment            []KeyValue             `json:"environment"`
	EnvironmentFiles       []EnvironmentFile      `json:"environmentFiles,omitempty"`
	MountPoints            []MountPoint           `json:"mountPoints"`
	VolumesFrom            []VolumeFrom           `json:"volumesFrom"`
	LinuxParameters        *LinuxParameters       `json:"linuxParameters,omitempty"`
	Secrets                []Secret               `json:"secrets,omitempty"`
	DependsOn              []ContainerDependency  `json:"dependsOn,omitempty"`
	StartTimeout           *int                   `json:"startTimeout,omitempty"` // seconds
	StopTimeout            *int                   `json:"stopTimeout,omitempty"`  // seconds
	VersionConsistency     string                 `json:"versionConsistency,omitempty"`
	Hostname               string                 `json:"hostname,omitempty"`
	User                   string                 `json:"user,omitempty"`
	WorkingDirectory       string                 `json:"workingDirectory,omitempty"`
	DisableNetworking      *bool                  `json:"disableNetworking,omitempty"`
	Privileged             *bool                  `json:"privileged,omitempty"`
	ReadonlyRootFilesystem *bool                  `json:"readonlyRootFilesystem,omitempty"`
	DNSServers             []string               `json:"dnsServers,omitempty"`
	DNSSearchDomains       []string               `json:"dnsSearchDomains,omitempty"`
	ExtraHosts             []HostEntry            `json:"extraHosts,omitempty"`
	DockerSecurityOptions  []string               `json:"dockerSecurityOptions,omitempty"`
	Interactive            *bool                  `json:"interactive,omitempty"`
	PseudoTerminal         *bool                  `json:"pseudoTerminal,omitempty"`
	DockerLabels           map[string]string      `json:"dockerLabels,omitempty"`
	Ulimits                []Ulimit               `json:"ulimits,omitempty"`
	LogConfiguration       *LogConfiguration      `json:"logConfiguration,omitempty"`
	HealthCheck            *HealthCheck           `json:"healthCheck,omitempty"`
	SystemControls         []SystemControl        `json:"systemControls"`
	ResourceRequirements   []ResourceRequirement  `json:"resourceRequirements,omitempty"`
	FirelensConfiguration  *FirelensConfiguration `json:"firelensConfiguration,omitempty"`
	CredentialSpecs        []string               `json:"credentialSpecs,omitempty"`
}

// IsEssential reports whether the task stops with this container.
func (c *ContainerDefinition) IsEssential() bool { return c.Essential == nil || *c.Essential }

// RepositoryCredentials names the secret to log in to a private registry with.
type RepositoryCredentials struct {
	CredentialsParameter string `json:"credentialsParameter"`
}

// PortMapping publishes a container port, or a range of them.
type PortMapping struct {
	ContainerPort      int    `json:"containerPort,omitempty"`
	HostPort           *int   `json:"hostPort,omitempty"`
	Protocol           string `json:"protocol,omitempty"`
	Name               string `json:"name,omitempty"`
	AppProtocol        string `json:"appProtocol,omitempty"`
	ContainerPortRange string `json:"containerPortRange,omitempty"` // "8000-8010"
}

// RestartPolicy restarts a container in place.
type RestartPolicy struct {
	Enabled              bool  `json:"enabled"`
	IgnoredExitCodes     []int `json:"ignoredExitCodes,omitempty"`
	RestartAttemptPeriod *int  `json:"restartAttemptPeriod,omitempty"` // seconds
}

// EnvironmentFile is a file of variables in S3.
type EnvironmentFile struct {
	Value string `json:"value"`
	Type  string `json:"type"`
}

// MountPoint mounts a volume of the task.
type MountPoint struct {
	SourceVolume  string `json:"sourceVolume,omitempty"`
	ContainerPath string `json:"containerPath,omitempty"`
	ReadOnly      *bool  `json:"readOnly,omitempty"`
}

// VolumeFrom mounts the volumes of another container.
type VolumeFrom struct {
	SourceContainer string `json:"sourceContainer,omitempty"`
	ReadOnly        *bool  `json:"readOnly,omitempty"`
}

// LinuxParameters are options of Linux containers.
type LinuxParameters struct {
	Capabilities       *KernelCapabilities `json:"capabilities,omitempty"`
	Devices            []Device            `json:"devices,omitempty"`
	InitProcessEnabled *bool               `json:"initProcessEnabled,omitempty"`
	SharedMemorySize   *int                `json:"sharedMemorySize,omitempty"` // MiB
	Tmpfs              []Tmpfs             `json:"tmpfs,omitempty"`
	MaxSwap            *int                `json:"maxSwap,omitempty"` // MiB
	Swappiness         *int                `json:"swappiness,omitempty"`
}

// KernelCapabilities are added to and dropped from Docker's default set.
type KernelCapabilities struct {
	Add  []string `json:"add,omitempty"`
	Drop []string `json:"drop,omitempty"`
}

// Device is a device of the host.
type Device struct {
	HostPath      string   `json:"hostPath"`
	ContainerPath string   `json:"containerPath,omitempty"`
	Permissions   []string `json:"permissions,omitempty"`
}

// Tmpfs is an in-memory mount.
type Tmpfs struct {
	ContainerPath string   `json:"containerPath"`
	Size          int      `json:"size"` // MiB
	MountOptions  []string `json:"mountOptions,omitempty"`
}

// Secret names a value in SSM or Secrets Manager.
type Secret struct {
	Name      string `json:"name"`
	ValueFrom string `json:"valueFrom"`
}

// ContainerDependency makes a container wait for another.
type ContainerDependency struct {
	ContainerName string `json:"containerName"`
	Condition     string `json:"condition"`
}

// HostEntry is a line of /etc/hosts.
type HostEntry struct {
	Hostname  string `json:"hostname"`
	IPAddress string `json:"ipAddress"`
}

// Ulimit is a resource limit.
type Ulimit struct {
	Name      string `json:"name"`
	SoftLimit int64  `json:"softLimit"`
	HardLimit int64  `json:"hardLimit"`
}

// LogConfiguration says where a container's output goes.
type LogConfiguration struct {
	LogDriver     string            `json:"logDriver"`
	Options       map[string]string `json:"options,omitempty"`
	SecretOptions []Secret          `json:"secretOptions,omitempty"`
}

// HealthCheck is a command whose exit code tells a container's health. Times are
// in seconds.
type HealthCheck struct {
	Command     []string `json:"command"`
	Interval    *int     `json:"interval,omitempty"`
	Timeout     *int     `json:"timeout,omitempty"`
	Retries     *int     `json:"retries,omitempty"`
	StartPeriod *int     `json:"startPeriod,omitempty"`
}

// SystemControl is a sysctl.
type SystemControl struct {
	Namespace string `json:"namespace,omitempty"`
	Value     string `json:"value,omitempty"`
}

// ResourceRequirement asks for GPUs or an inference accelerator.
type ResourceRequirement struct {
	Value string `json:"value"`
	Type  string `json:"type"`
}

// FirelensConfiguration marks a container as the log router.
type FirelensConfiguration struct {
	Type    string            `json:"type"`
	Options map[string]string `json:"options,omitempty"`
}

// Volume is storage of a task. At most one of the configurations is set.
type Volume struct {
	Name               string         `json:"name"`
	Host               *HostVolume    `json:"host,omitempty"`
	Docker             *DockerVolume  `json:"dockerVolumeConfiguration,omitempty"`
	EFS                *EFSVolume     `json:"efsVolumeConfiguration,omitempty"`
	S3Files            *S3FilesVolume `json:"s3filesVolumeConfiguration,omitempty"`
	FSx                *FSxVolume     `json:"fsxWindowsFileServerVolumeConfiguration,omitempty"`
	ConfiguredAtLaunch *bool          `json:"configuredAtLaunch,omitempty"`
}

// HostVolume is a path of the host, or a volume of the engine when empty.
type HostVolume struct {
	SourcePath string `json:"sourcePath,omitempty"`
}

// DockerVolume is a Docker volume.
type DockerVolume struct {
	Scope         string            `json:"scope,omitempty"`
	Autoprovision *bool             `json:"autoprovision,omitempty"`
	Driver        string            `json:"driver,omitempty"`
	DriverOpts    map[string]string `json:"driverOpts,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
}

// EFSVolume is an Elastic File System.
type EFSVolume struct {
	FileSystemID          string            `json:"fileSystemId"`
	RootDirectory         string            `json:"rootDirectory,omitempty"`
	TransitEncryption     string            `json:"transitEncryption,omitempty"`
	TransitEncryptionPort *int              `json:"transitEncryptionPort,omitempty"`
	AuthorizationConfig   *EFSAuthorization `json:"authorizationConfig,omitempty"`
}

// EFSAuthorization says who may use the file system.
type EFSAuthorization struct {
	AccessPointID string `json:"accessPointId,omitempty"`
	IAM           string `json:"iam,omitempty"`
}

// S3FilesVolume is an S3 Files file system.
type S3FilesVolume struct {
	FileSystemARN         string `json:"fileSystemArn"`
	RootDirectory         string `json:"rootDirectory,omitempty"`
	TransitEncryptionPort *int   `json:"transitEncryptionPort,omitempty"`
	AccessPointARN        string `json:"accessPointArn,omitempty"`
}

// FSxVolume is a file system of FSx for Windows File Server.
type FSxVolume struct {
	FileSystemID        string           `json:"fileSystemId"`
	RootDirectory       string           `json:"rootDirectory"`
	AuthorizationConfig FSxAuthorization `json:"authorizationConfig"`
}

// FSxAuthorization names the credentials for an FSxVolume.
type FSxAuthorization struct {
	CredentialsParameter string `json:"credentialsParameter"`
	Domain               string `json:"domain"`
}

// PlacementConstraint limits where tasks may be placed.
type PlacementConstraint struct {
	Type       string `json:"type"`
	Expression string `json:"expression,omitempty"`
}

// PlacementStrategy prefers some instances over others.
type PlacementStrategy struct {
	Type  string `json:"type"`
	Field string `json:"field,omitempty"`
}

// ProxyConfiguration is the App Mesh proxy of a task.
type ProxyConfiguration struct {
	Type          string     `json:"type,omitempty"`
	ContainerName string     `json:"containerName"`
	Properties    []KeyValue `json:"properties,omitempty"`
}

// InferenceAccelerator is an Elastic Inference device.
type InferenceAccelerator struct {
	DeviceName string `json:"deviceName"`
	DeviceType string `json:"deviceType"`
}

// EphemeralStorage is the size of a Fargate task's disk.
type EphemeralStorage struct {
	SizeInGiB int `json:"sizeInGiB"`
}

// RuntimePlatform is the platform that a task needs.
type RuntimePlatform struct {
	CPUArchitecture       string `json:"cpuArchitecture,omitempty"`
	OperatingSystemFamily string `json:"operatingSystemFamily,omitempty"`
}

// RegisterTaskDefinitionResponse answers RegisterTaskDefinition.
type RegisterTaskDefinitionResponse struct {
	TaskDefinition TaskDefinition `json:"taskDefinition"`
	Tags           []Tag          `json:"tags,omitempty"`
}

// DescribeTaskDefinitionRequest asks for one revision.
type DescribeTaskDefinitionRequest struct {
	TaskDefinition string   `json:"taskDefinition"`
	Include        []string `json:"include,omitempty"`
}

// DescribeTaskDefinitionResponse answers DescribeTaskDefinition and
// DeregisterTaskDefinition.
type DescribeTaskDefinitionResponse struct {
	TaskDefinition TaskDefinition `json:"taskDefinition"`
	Tags           []Tag          `json:"tags,omitempty"`
}

// DeregisterTaskDefinitionRequest retires a revision.
type DeregisterTaskDefinitionRequest struct {
	TaskDefinition string `json:"taskDefinition"`
}

// DeleteTaskDefinitionsRequest deletes inactive revisions.
type DeleteTaskDefinitionsRequest struct {
	TaskDefinitions []string `json:"taskDefinitions"`
}

// DeleteTaskDefinitionsResponse answers DeleteTaskDefinitions.
type DeleteTaskDefinitionsResponse struct {
	TaskDefinitions []TaskDefinition `json:"taskDefinitions"`
	Failures        []Failure        `json:"failures"`
}

// ListTaskDefinitionsRequest lists revisions or, without Sort, families.
type ListTaskDefinitionsRequest struct {
	FamilyPrefix string `json:"familyPrefix,omitempty"`
	Status       string `json:"status,omitempty"`
	Sort         string `json:"sort,omitempty"`
	Page
}

// ListTaskDefinitionsResponse answers ListTaskDefinitions.
type ListTaskDefinitionsResponse struct {
	TaskDefinitionARNs []string `json:"taskDefinitionArns"`
	NextToken          string   `json:"nextToken,omitempty"`
}

// ListTaskDefinitionFamiliesResponse answers ListTaskDefinitionFamilies.
type ListTaskDefinitionFamiliesResponse struct {
	Families  []string `json:"families"`
	NextToken string   `json:"nextToken,omitempty"`
}

// Page asks for one page of a list.
type Page struct {
	MaxResults *int   `json:"maxResults,omitempty"`
	NextToken  string `json:"nextToken,omitempty"`
}
