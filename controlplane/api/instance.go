package api

// ContainerInstance is a host with an agent.
type ContainerInstance struct {
	ContainerInstanceARN string          `json:"containerInstanceArn"`
	EC2InstanceID        string          `json:"ec2InstanceId,omitempty"`
	Version              int64           `json:"version"`
	VersionInfo          VersionInfo     `json:"versionInfo"`
	RemainingResources   []Resource      `json:"remainingResources"`
	RegisteredResources  []Resource      `json:"registeredResources"`
	Status               string          `json:"status"`
	AgentConnected       bool            `json:"agentConnected"`
	AgentUpdateStatus    string          `json:"agentUpdateStatus,omitempty"`
	RunningTasksCount    int             `json:"runningTasksCount"`
	PendingTasksCount    int             `json:"pendingTasksCount"`
	Attributes           []Attribute     `json:"attributes"`
	RegisteredAt         Time            `json:"registeredAt,omitzero"`
	Attachments          []Empty         `json:"attachments"`
	Tags                 []Tag           `json:"tags"`
	HealthStatus         *InstanceHealth `json:"healthStatus,omitempty"`
}

// VersionInfo tells what runs on a container instance.
type VersionInfo struct {
	AgentVersion  string `json:"agentVersion,omitempty"`
	AgentHash     string `json:"agentHash,omitempty"`
	DockerVersion string `json:"dockerVersion,omitempty"`
}

// Resource is an amount or a set that a container instance offers.
type Resource struct {
	Name           string   `json:"name"`
	Type           string   `json:"type"` // INTEGER or STRINGSET
	DoubleValue    float64  `json:"doubleValue"`
	LongValue      int64    `json:"longValue"`
	IntegerValue   int      `json:"integerValue"`
	StringSetValue []string `json:"stringSetValue,omitzero"` // [] is shown, nil is not
}

// InstanceHealth is the health of a container instance.
type InstanceHealth struct {
	OverallStatus string                 `json:"overallStatus"`
	Details       []InstanceHealthDetail `json:"details"`
}

// InstanceHealthDetail is the result of one check.
type InstanceHealthDetail struct {
	Type             string `json:"type"`
	Status           string `json:"status"`
	LastUpdated      Time   `json:"lastUpdated,omitzero"`
	LastStatusChange Time   `json:"lastStatusChange,omitzero"`
}

// ListContainerInstancesRequest lists container instances.
type ListContainerInstancesRequest struct {
	Cluster string `json:"cluster,omitempty"`
	Filter  string `json:"filter,omitempty"`
	Status  string `json:"status,omitempty"`
	Page
}

// ListContainerInstancesResponse answers ListContainerInstances.
type ListContainerInstancesResponse struct {
	ContainerInstanceARNs []string `json:"containerInstanceArns"`
	NextToken             string   `json:"nextToken,omitempty"`
}

// DescribeContainerInstancesRequest asks for container instances by id or ARN.
type DescribeContainerInstancesRequest struct {
	Cluster            string   `json:"cluster,omitempty"`
	ContainerInstances []string `json:"containerInstances"`
	Include            []string `json:"include,omitempty"`
}

// ContainerInstancesResponse answers DescribeContainerInstances and
// UpdateContainerInstancesState.
type ContainerInstancesResponse struct {
	ContainerInstances []ContainerInstance `json:"containerInstances"`
	Failures           []Failure           `json:"failures"`
}

// UpdateContainerInstancesStateRequest drains instances or makes them active.
type UpdateContainerInstancesStateRequest struct {
	Cluster            string   `json:"cluster,omitempty"`
	ContainerInstances []string `json:"containerInstances"`
	Status             string   `json:"status"`
}

// Statuses of an agent's update.
const (
	UpdatePending  = "PENDING"
	UpdateStaged   = "STAGED"
	UpdateUpdating = "UPDATING"
	UpdateUpdated  = "UPDATED"
	UpdateFailed   = "FAILED"
)

// UpdateContainerAgentRequest puts another agent on an instance.
type UpdateContainerAgentRequest struct {
	Cluster           string `json:"cluster,omitempty"`
	ContainerInstance string `json:"containerInstance"`
}

// DeregisterContainerInstanceRequest takes an instance out of its cluster.
type DeregisterContainerInstanceRequest struct {
	Cluster           string `json:"cluster,omitempty"`
	ContainerInstance string `json:"containerInstance"`
	Force             bool   `json:"force,omitempty"`
}

// ContainerInstanceResponse answers RegisterContainerInstance,
// UpdateContainerAgent and DeregisterContainerInstance.
type ContainerInstanceResponse struct {
	ContainerInstance ContainerInstance `json:"containerInstance"`
}

// AttributesRequest is the request of PutAttributes and DeleteAttributes.
type AttributesRequest struct {
	Cluster    string      `json:"cluster,omitempty"`
	Attributes []Attribute `json:"attributes"`
}

// AttributesResponse answers PutAttributes and DeleteAttributes.
type AttributesResponse struct {
	Attributes []Attribute `json:"attributes"`
}

// ListAttributesRequest looks for attributes of instances.
type ListAttributesRequest struct {
	Cluster        string `json:"cluster,omitempty"`
	TargetType     string `json:"targetType"`
	AttributeName  string `json:"attributeName,omitempty"`
	AttributeValue string `json:"attributeValue,omitempty"`
	Page
}

// ListAttributesResponse answers ListAttributes.
type ListAttributesResponse struct {
	Attributes []Attribute `json:"attributes"`
	NextToken  string      `json:"nextToken,omitempty"`
}

// RegisterContainerInstanceRequest comes from an agent that starts (docs/spec/01
// section 1.4.1).
type RegisterContainerInstanceRequest struct {
	Cluster                           string           `json:"cluster,omitempty"`
	InstanceIdentityDocument          string           `json:"instanceIdentityDocument,omitempty"`
	InstanceIdentityDocumentSignature string           `json:"instanceIdentityDocumentSignature,omitempty"`
	TotalResources                    []Resource       `json:"totalResources,omitempty"`
	VersionInfo                       VersionInfo      `json:"versionInfo,omitzero"`
	ContainerInstanceARN              string           `json:"containerInstanceArn,omitempty"`
	Attributes                        []Attribute      `json:"attributes,omitempty"`
	PlatformDevices                   []PlatformDevice `json:"platformDevices,omitempty"`
	Tags                              []Tag            `json:"tags,omitempty"`
	ClientToken                       string           `json:"clientToken,omitempty"`
}

// PlatformDevice is a device of the host, a GPU.
type PlatformDevice struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// DiscoverPollEndpointRequest asks where the agent channel is.
type DiscoverPollEndpointRequest struct {
	ContainerInstance string `json:"containerInstance,omitempty"`
	Cluster           string `json:"cluster,omitempty"`
	ZoneID            string `json:"zoneId,omitempty"`
}

// DiscoverPollEndpointResponse answers DiscoverPollEndpoint.
type DiscoverPollEndpointResponse struct {
	Endpoint          string `json:"endpoint"`
	TelemetryEndpoint string `json:"telemetryEndpoint"`
}
