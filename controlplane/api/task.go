package api

import "encoding/json"

// Task is a running or stopped task.
type Task struct {
	Attachments          []Attachment `json:"attachments"`
	Attributes           []Attribute  `json:"attributes"`
	AvailabilityZone     string       `json:"availabilityZone,omitempty"`
	ClusterARN           string       `json:"clusterArn"`
	Connectivity         string       `json:"connectivity,omitempty"`
	ConnectivityAt       Time         `json:"connectivityAt,omitzero"`
	ContainerInstanceARN string       `json:"containerInstanceArn,omitempty"`
	Containers           []Container  `json:"containers"`
	CPU                  string       `json:"cpu,omitempty"`
	CreatedAt            Time         `json:"createdAt,omitzero"`
	DesiredStatus        string       `json:"desiredStatus"`
	EnableExecuteCommand bool         `json:"enableExecuteCommand"`
	ExecutionStoppedAt   Time         `json:"executionStoppedAt,omitzero"`
	Group                string       `json:"group,omitempty"`
	HealthStatus         string       `json:"healthStatus,omitempty"`
	LastStatus           string       `json:"lastStatus"`
	LaunchType           string       `json:"launchType,omitempty"`
	Memory               string       `json:"memory,omitempty"`
	Overrides            TaskOverride `json:"overrides"`
	PullStartedAt        Time         `json:"pullStartedAt,omitzero"`
	PullStoppedAt        Time         `json:"pullStoppedAt,omitzero"`
	StartedAt            Time         `json:"startedAt,omitzero"`
	StartedBy            string       `json:"startedBy,omitempty"`
	StopCode             string       `json:"stopCode,omitempty"`
	StoppedAt            Time         `json:"stoppedAt,omitzero"`
	StoppedReason        string       `json:"stoppedReason,omitempty"`
	StoppingAt           Time         `json:"stoppingAt,omitzero"`
	Tags                 []Tag        `json:"tags"`
	TaskARN              string       `json:"taskArn"`
	TaskDefinitionARN    string       `json:"taskDefinitionArn"`
	Version              int64        `json:"version"`
}

// Container is a container of a Task.
type Container struct {
	ContainerARN      string             `json:"containerArn"`
	TaskARN           string             `json:"taskArn"`
	Name              string             `json:"name"`
	Image             string             `json:"image,omitempty"`
	ImageDigest       string             `json:"imageDigest,omitempty"`
	RuntimeID         string             `json:"runtimeId,omitempty"`
	LastStatus        string             `json:"lastStatus"`
	ExitCode          *int               `json:"exitCode,omitempty"`
	Reason            string             `json:"reason,omitempty"`
	NetworkBindings   []NetworkBinding   `json:"networkBindings"`
	NetworkInterfaces []NetworkInterface `json:"networkInterfaces"`
	HealthStatus      string             `json:"healthStatus,omitempty"`
	ManagedAgents     []ManagedAgent     `json:"managedAgents,omitempty"`
	CPU               string             `json:"cpu"`
	Memory            string             `json:"memory,omitempty"`
	MemoryReservation string             `json:"memoryReservation,omitempty"`
	GPUIDs            []string           `json:"gpuIds,omitempty"`
}

// Attachment is what was attached to the instance for a task.
type Attachment struct {
	ID      string     `json:"id"`
	Type    string     `json:"type"`
	Status  string     `json:"status"`
	Details []KeyValue `json:"details"`
}

// NetworkInterface is the interface that a container shares with its task.
type NetworkInterface struct {
	AttachmentID string `json:"attachmentId"`
	IPv4Address  string `json:"privateIpv4Address,omitempty"`
	IPv6Address  string `json:"ipv6Address,omitempty"`
}

// NetworkBinding is a published port.
type NetworkBinding struct {
	BindIP             string `json:"bindIP,omitempty"`
	ContainerPort      int    `json:"containerPort,omitempty"`
	HostPort           int    `json:"hostPort,omitempty"`
	Protocol           string `json:"protocol,omitempty"`
	ContainerPortRange string `json:"containerPortRange,omitempty"`
	HostPortRange      string `json:"hostPortRange,omitempty"`
}

// ExecuteCommandAgent is the managed agent of ECS Exec.
const ExecuteCommandAgent = "ExecuteCommandAgent"

// ManagedAgent is an agent beside a container's process.
type ManagedAgent struct {
	LastStartedAt Time   `json:"lastStartedAt,omitzero"`
	Name          string `json:"name"`
	Reason        string `json:"reason,omitempty"`
	LastStatus    string `json:"lastStatus"`
}

// TaskOverride changes a task definition for one run.
type TaskOverride struct {
	ContainerOverrides            []ContainerOverride    `json:"containerOverrides"`
	CPU                           string                 `json:"cpu,omitempty"`
	InferenceAcceleratorOverrides []InferenceAccelerator `json:"inferenceAcceleratorOverrides"`
	ExecutionRoleARN              string                 `json:"executionRoleArn,omitempty"`
	Memory                        string                 `json:"memory,omitempty"`
	TaskRoleARN                   string                 `json:"taskRoleArn,omitempty"`
}

// ContainerOverride changes one container for one run.
type ContainerOverride struct {
	Name                 string                `json:"name,omitempty"`
	Command              []string              `json:"command,omitempty"`
	Environment          []KeyValue            `json:"environment,omitempty"`
	EnvironmentFiles     []EnvironmentFile     `json:"environmentFiles,omitempty"`
	CPU                  *int                  `json:"cpu,omitempty"`
	Memory               *int                  `json:"memory,omitempty"`
	MemoryReservation    *int                  `json:"memoryReservation,omitempty"`
	ResourceRequirements []ResourceRequirement `json:"resourceRequirements,omitempty"`
}

// RunTaskRequest starts tasks where there is room.
type RunTaskRequest struct {
	CapacityProviderStrategy []json.RawMessage     `json:"capacityProviderStrategy,omitempty"`
	Count                    *int                  `json:"count,omitempty"`
	LaunchType               string                `json:"launchType,omitempty"`
	PlacementConstraints     []PlacementConstraint `json:"placementConstraints,omitempty"`
	PlacementStrategy        []PlacementStrategy   `json:"placementStrategy,omitempty"`
	PlatformVersion          string                `json:"platformVersion,omitempty"`
	ClientToken              string                `json:"clientToken,omitempty"`
	TaskRequest
}

// StartTaskRequest starts tasks on given instances.
type StartTaskRequest struct {
	ContainerInstances []string `json:"containerInstances"`
	TaskRequest
}

// TaskRequest is what RunTask and StartTask have in common.
type TaskRequest struct {
	Cluster              string                `json:"cluster,omitempty"`
	EnableECSManagedTags bool                  `json:"enableECSManagedTags,omitempty"`
	EnableExecuteCommand bool                  `json:"enableExecuteCommand,omitempty"`
	Group                string                `json:"group,omitempty"`
	NetworkConfiguration *NetworkConfiguration `json:"networkConfiguration,omitempty"`
	Overrides            TaskOverride          `json:"overrides,omitzero"`
	PropagateTags        string                `json:"propagateTags,omitempty"`
	ReferenceID          string                `json:"referenceId,omitempty"`
	StartedBy            string                `json:"startedBy,omitempty"`
	Tags                 []Tag                 `json:"tags,omitempty"`
	TaskDefinition       string                `json:"taskDefinition"`
	VolumeConfigurations []VolumeConfiguration `json:"volumeConfigurations,omitempty"`
}

// VolumeConfiguration configures a volume that a task definition leaves open.
type VolumeConfiguration struct {
	Name             string     `json:"name"`
	ManagedEBSVolume *EBSVolume `json:"managedEBSVolume,omitempty"`
}

// EBSVolume is a volume that ECS makes for a task.
type EBSVolume struct {
	Encrypted                *bool                    `json:"encrypted,omitempty"`
	FilesystemType           string                   `json:"filesystemType,omitempty"`
	IOPS                     *int                     `json:"iops,omitempty"`
	KMSKeyID                 string                   `json:"kmsKeyId,omitempty"`
	RoleARN                  string                   `json:"roleArn"`
	SizeInGiB                *int                     `json:"sizeInGiB,omitempty"`
	SnapshotID               string                   `json:"snapshotId,omitempty"`
	TagSpecifications        []VolumeTags             `json:"tagSpecifications,omitempty"`
	TerminationPolicy        *VolumeTerminationPolicy `json:"terminationPolicy,omitempty"`
	Throughput               *int                     `json:"throughput,omitempty"` // MiB/s
	VolumeInitializationRate *int                     `json:"volumeInitializationRate,omitempty"`
	VolumeType               string                   `json:"volumeType,omitempty"`
}

// VolumeTags are tags of a volume that ECS makes.
type VolumeTags struct {
	PropagateTags string `json:"propagateTags,omitempty"`
	ResourceType  string `json:"resourceType"`
	Tags          []Tag  `json:"tags,omitempty"`
}

// VolumeTerminationPolicy says what becomes of a volume when its task ends.
type VolumeTerminationPolicy struct {
	DeleteOnTermination bool `json:"deleteOnTermination"`
}

// NetworkConfiguration belongs to tasks in awsvpc mode.
type NetworkConfiguration struct {
	AWSVPCConfiguration json.RawMessage `json:"awsvpcConfiguration,omitempty"`
}

// TasksResponse answers RunTask, StartTask and DescribeTasks.
type TasksResponse struct {
	Tasks    []Task    `json:"tasks"`
	Failures []Failure `json:"failures"`
}

// StopTaskRequest stops a task.
type StopTaskRequest struct {
	Cluster string `json:"cluster,omitempty"`
	Task    string `json:"task"`
	Reason  string `json:"reason,omitempty"`
}

// StopTaskResponse answers StopTask.
type StopTaskResponse struct {
	Task Task `json:"task"`
}

// DescribeTasksRequest asks for tasks by id or ARN.
type DescribeTasksRequest struct {
	Cluster string   `json:"cluster,omitempty"`
	Tasks   []string `json:"tasks"`
	Include []string `json:"include,omitempty"`
}

// ListTasksRequest lists tasks.
type ListTasksRequest struct {
	Cluster           string `json:"cluster,omitempty"`
	ContainerInstance string `json:"containerInstance,omitempty"`
	Family            string `json:"family,omitempty"`
	StartedBy         string `json:"startedBy,omitempty"`
	ServiceName       string `json:"serviceName,omitempty"`
	DesiredStatus     string `json:"desiredStatus,omitempty"`
	LaunchType        string `json:"launchType,omitempty"`
	Page
}

// ListTasksResponse answers ListTasks.
type ListTasksResponse struct {
	TaskARNs  []string `json:"taskArns"`
	NextToken string   `json:"nextToken,omitempty"`
}

// SubmitTaskStateChangeRequest is an agent's report of a task (docs/spec/01
// section 1.10.1).
type SubmitTaskStateChangeRequest struct {
	Cluster            string                    `json:"cluster,omitempty"`
	Task               string                    `json:"task,omitempty"`
	Status             string                    `json:"status,omitempty"`
	Reason             string                    `json:"reason,omitempty"`
	Containers         []ContainerStateChange    `json:"containers,omitempty"`
	Attachments        []AttachmentStateChange   `json:"attachments,omitempty"`
	ManagedAgents      []ManagedAgentStateChange `json:"managedAgents,omitempty"`
	PullStartedAt      Time                      `json:"pullStartedAt,omitzero"`
	PullStoppedAt      Time                      `json:"pullStoppedAt,omitzero"`
	ExecutionStoppedAt Time                      `json:"executionStoppedAt,omitzero"`
}

// ContainerStateChange is an agent's report of a container.
type ContainerStateChange struct {
	ContainerName   string           `json:"containerName,omitempty"`
	ImageDigest     string           `json:"imageDigest,omitempty"`
	RuntimeID       string           `json:"runtimeId,omitempty"`
	ExitCode        *int             `json:"exitCode,omitempty"`
	NetworkBindings []NetworkBinding `json:"networkBindings,omitempty"`
	Reason          string           `json:"reason,omitempty"`
	Status          string           `json:"status,omitempty"`
}

// SubmitContainerStateChangeRequest is the report of a single container.
type SubmitContainerStateChangeRequest struct {
	Cluster string `json:"cluster,omitempty"`
	Task    string `json:"task,omitempty"`
	ContainerStateChange
}

// AttachmentStateChange is an agent's report of an attachment.
type AttachmentStateChange struct {
	AttachmentARN string `json:"attachmentArn"`
	Status        string `json:"status"`
}

// ManagedAgentStateChange is an agent's report of a managed agent.
type ManagedAgentStateChange struct {
	ContainerName    string `json:"containerName"`
	ManagedAgentName string `json:"managedAgentName"`
	Status           string `json:"status"`
	Reason           string `json:"reason,omitempty"`
}

// SubmitAttachmentStateChangesRequest reports attachments of the instance.
type SubmitAttachmentStateChangesRequest struct {
	Cluster     string                  `json:"cluster,omitempty"`
	Attachments []AttachmentStateChange `json:"attachments"`
}

// Acknowledgment answers the Submit operations.
type Acknowledgment struct {
	Acknowledgment string `json:"acknowledgment"`
}

// TaskProtectionRequest is the request of GetTaskProtection and, with
// ProtectionEnabled, of UpdateTaskProtection.
type TaskProtectionRequest struct {
	Cluster           string   `json:"cluster"`
	Tasks             []string `json:"tasks,omitempty"`
	ProtectionEnabled *bool    `json:"protectionEnabled,omitempty"`
	ExpiresInMinutes  *int     `json:"expiresInMinutes,omitempty"`
}

// ProtectedTask tells whether a task is protected from scale-in.
type ProtectedTask struct {
	TaskARN           string `json:"taskArn"`
	ProtectionEnabled bool   `json:"protectionEnabled"`
	ExpirationDate    Time   `json:"expirationDate,omitzero"`
}

// TaskProtectionResponse answers GetTaskProtection and UpdateTaskProtection.
type TaskProtectionResponse struct {
	ProtectedTasks []ProtectedTask `json:"protectedTasks"`
	Failures       []Failure       `json:"failures"`
}
