package api

// Tag is a key with a value on a resource.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// KeyValue is a name with a value.
type KeyValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Attribute is an attribute of a container instance, or one that a task needs.
type Attribute struct {
	Name       string `json:"name"`
	Value      string `json:"value,omitempty"`
	TargetType string `json:"targetType,omitempty"`
	TargetID   string `json:"targetId,omitempty"`
}

// Failure says why one item of a request failed while others may have succeeded.
type Failure struct {
	ARN    string `json:"arn,omitempty"`
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// Reasons of a Failure.
const (
	ReasonMissing     = "MISSING"
	ReasonInactive    = "INACTIVE"
	ReasonAgent       = "AGENT"
	ReasonAttribute   = "ATTRIBUTE"
	ReasonCPU         = "RESOURCE:CPU"
	ReasonMemory      = "RESOURCE:MEMORY"
	ReasonPorts       = "RESOURCE:PORTS"
	ReasonGPU         = "RESOURCE:GPU"
	ReasonENI         = "RESOURCE:ENI"
	ReasonMemberOf    = "MemberOf placement constraint unsatisfied."
	ReasonDistinct    = "DistinctInstance placement constraint unsatisfied."
	ReasonNotDraining = "INVALID_STATUS"
	ReasonNoFargate   = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
)

// Launch types.
const (
	LaunchEC2      = "EC2"
	LaunchExternal = "EXTERNAL"
	LaunchFargate  = "FARGATE"
)

// Network modes.
const (
	NetworkBridge = "bridge"
	NetworkHost   = "host"
	NetworkVPC    = "awsvpc"
	NetworkNone   = "none"
)

// Statuses of clusters, task definitions, instances and tasks.
const (
	StatusActive   = "ACTIVE"
	StatusInactive = "INACTIVE"
	StatusDraining = "DRAINING"
	StatusDeleting = "DELETE_IN_PROGRESS"

	StatusProvisioning   = "PROVISIONING"
	StatusPending        = "PENDING"
	StatusActivating     = "ACTIVATING"
	StatusRunning        = "RUNNING"
	StatusDeactivating   = "DEACTIVATING"
	StatusStopping       = "STOPPING"
	StatusDeprovisioning = "DEPROVISIONING"
	StatusStopped        = "STOPPED"
)

// Stop codes of a task.
const (
	StopFailedToStart   = "TaskFailedToStart"
	StopEssentialExited = "EssentialContainerExited"
	StopUserInitiated   = "UserInitiated"
	StopTermination     = "TerminationNotice"
)
