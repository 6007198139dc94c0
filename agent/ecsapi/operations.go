package ecsapi

import "context"

// RegisterContainerInstanceInput is the request of docs/spec/01 section 1.4.1.
type RegisterContainerInstanceInput struct {
	Attributes                        []Attribute      `json:"attributes"`
	ClientToken                       string           `json:"clientToken"`
	Cluster                           string           `json:"cluster"`
	ContainerInstanceARN              string           `json:"containerInstanceArn,omitempty"`
	InstanceIdentityDocument          string           `json:"instanceIdentityDocument"`
	InstanceIdentityDocumentSignature string           `json:"instanceIdentityDocumentSignature"`
	PlatformDevices                   []PlatformDevice `json:"platformDevices,omitempty"`
	Tags                              []Tag            `json:"tags,omitempty"`
	TotalResources                    []Resource       `json:"totalResources"`
}

// ContainerInstance is what the agent reads of a registered instance.
type ContainerInstance struct {
	Attributes           []Attribute `json:"attributes"`
	ContainerInstanceARN string      `json:"containerInstanceArn"`
	Status               string      `json:"status"`
}

// RegisterContainerInstanceOutput is the reply; ContainerInstance is nil when the
// service sent none.
type RegisterContainerInstanceOutput struct {
	ContainerInstance *ContainerInstance `json:"containerInstance"`
}

// RegisterContainerInstance registers this host, or refreshes its registration.
func (c *Client) RegisterContainerInstance(ctx context.Context, in *RegisterContainerInstanceInput) (*RegisterContainerInstanceOutput, error) {
	return call[RegisterContainerInstanceInput, RegisterContainerInstanceOutput](ctx, c, "RegisterContainerInstance", in)
}

// CreateClusterInput names the cluster to create.
type CreateClusterInput struct {
	ClusterName string `json:"clusterName"`
}

// Cluster is what the agent reads of a cluster.
type Cluster struct {
	ClusterARN  string `json:"clusterArn"`
	ClusterName string `json:"clusterName"`
	Status      string `json:"status"`
}

// CreateClusterOutput is the reply; Cluster is nil when the service sent none.
type CreateClusterOutput struct {
	Cluster *Cluster `json:"cluster"`
}

// CreateCluster creates a cluster.
func (c *Client) CreateCluster(ctx context.Context, in *CreateClusterInput) (*CreateClusterOutput, error) {
	return call[CreateClusterInput, CreateClusterOutput](ctx, c, "CreateCluster", in)
}

// DiscoverPollEndpointInput asks for the endpoints of an instance; ZoneID is empty
// on EC2 and always sent.
type DiscoverPollEndpointInput struct {
	Cluster           string `json:"cluster"`
	ContainerInstance string `json:"containerInstance"`
	ZoneID            string `json:"zoneId"`
}

// DiscoverPollEndpointOutput has the base URLs of the sessions (docs/spec/01
// section 1.8); an absent one is empty.
type DiscoverPollEndpointOutput struct {
	Endpoint               string `json:"endpoint"`
	ServiceConnectEndpoint string `json:"serviceConnectEndpoint"`
	SystemLogsEndpoint     string `json:"systemLogsEndpoint"`
	TelemetryEndpoint      string `json:"telemetryEndpoint"`
}

// DiscoverPollEndpoint finds the endpoints of the websocket sessions. Discovery
// caches its answers.
func (c *Client) DiscoverPollEndpoint(ctx context.Context, in *DiscoverPollEndpointInput) (*DiscoverPollEndpointOutput, error) {
	return call[DiscoverPollEndpointInput, DiscoverPollEndpointOutput](ctx, c, "DiscoverPollEndpoint", in)
}

// SubmitTaskStateChangeInput reports a task (docs/spec/01 section 1.10.1). Status
// is absent, and Reason nil, when only attachments are confirmed; in a status
// event Reason is always sent, though it may be empty.
type SubmitTaskStateChangeInput struct {
	Attachments        []AttachmentStateChange   `json:"attachments,omitempty"`
	Cluster            string                    `json:"cluster"`
	Containers         []ContainerStateChange    `json:"containers,omitempty"`
	ExecutionStoppedAt Time                      `json:"executionStoppedAt,omitzero"`
	ManagedAgents      []ManagedAgentStateChange `json:"managedAgents,omitempty"`
	PullStartedAt      Time                      `json:"pullStartedAt,omitzero"`
	PullStoppedAt      Time                      `json:"pullStoppedAt,omitzero"`
	Reason             *string                   `json:"reason,omitempty"`
	Status             string                    `json:"status,omitempty"`
	Task               string                    `json:"task"`
}

// SubmitTaskStateChangeOutput is the reply, whose content means nothing.
type SubmitTaskStateChangeOutput struct {
	Acknowledgment string `json:"acknowledgment"`
}

// SubmitTaskStateChange reports the state of a task and its containers.
func (c *Client) SubmitTaskStateChange(ctx context.Context, in *SubmitTaskStateChangeInput) (*SubmitTaskStateChangeOutput, error) {
	return call[SubmitTaskStateChangeInput, SubmitTaskStateChangeOutput](ctx, c, "SubmitTaskStateChange", in)
}

// SubmitContainerStateChangeInput reports one container by itself.
type SubmitContainerStateChangeInput struct {
	Cluster         string           `json:"cluster"`
	ContainerName   string           `json:"containerName"`
	ExitCode        *int             `json:"exitCode,omitempty"`
	NetworkBindings []NetworkBinding `json:"networkBindings,omitzero"`
	Reason          string           `json:"reason,omitempty"`
	RuntimeID       string           `json:"runtimeId,omitempty"`
	Status          string           `json:"status"`
	Task            string           `json:"task"`
}

// SubmitContainerStateChangeOutput is the reply, whose content means nothing.
type SubmitContainerStateChangeOutput struct {
	Acknowledgment string `json:"acknowledgment"`
}

// SubmitContainerStateChange reports one container. The agent itself reports
// containers with their task.
func (c *Client) SubmitContainerStateChange(ctx context.Context, in *SubmitContainerStateChangeInput) (*SubmitContainerStateChangeOutput, error) {
	return call[SubmitContainerStateChangeInput, SubmitContainerStateChangeOutput](ctx, c, "SubmitContainerStateChange", in)
}

// SubmitAttachmentStateChangesInput confirms attachments of the instance.
type SubmitAttachmentStateChangesInput struct {
	Attachments []AttachmentStateChange `json:"attachments"`
	Cluster     string                  `json:"cluster"`
}

// SubmitAttachmentStateChangesOutput is the reply, whose content means nothing.
type SubmitAttachmentStateChangesOutput struct {
	Acknowledgment string `json:"acknowledgment"`
}

// SubmitAttachmentStateChanges confirms attachments of the instance.
func (c *Client) SubmitAttachmentStateChanges(ctx context.Context, in *SubmitAttachmentStateChangesInput) (*SubmitAttachmentStateChangesOutput, error) {
	return call[SubmitAttachmentStateChangesInput, SubmitAttachmentStateChangesOutput](ctx, c, "SubmitAttachmentStateChanges", in)
}

// UpdateContainerInstancesStateInput asks for a status such as DRAINING.
type UpdateContainerInstancesStateInput struct {
	Cluster            string   `json:"cluster"`
	ContainerInstances []string `json:"containerInstances"`
	Status             string   `json:"status"`
}

// UpdateContainerInstancesStateOutput is the reply; Failures must be looked at.
type UpdateContainerInstancesStateOutput struct {
	ContainerInstances []ContainerInstance `json:"containerInstances"`
	Failures           []Failure           `json:"failures"`
}

// UpdateContainerInstancesState changes the status of container instances.
func (c *Client) UpdateContainerInstancesState(ctx context.Context, in *UpdateContainerInstancesStateInput) (*UpdateContainerInstancesStateOutput, error) {
	return call[UpdateContainerInstancesStateInput, UpdateContainerInstancesStateOutput](ctx, c, "UpdateContainerInstancesState", in)
}

// ListTagsForResourceInput names the resource.
type ListTagsForResourceInput struct {
	ResourceARN string `json:"resourceArn"`
}

// ListTagsForResourceOutput has the tags of the resource.
type ListTagsForResourceOutput struct {
	Tags []Tag `json:"tags"`
}

// ListTagsForResource lists the tags of a task or container instance.
func (c *Client) ListTagsForResource(ctx context.Context, in *ListTagsForResourceInput) (*ListTagsForResourceOutput, error) {
	return call[ListTagsForResourceInput, ListTagsForResourceOutput](ctx, c, "ListTagsForResource", in)
}

// ProtectedTask is the scale-in protection of a task; ExpirationDate is zero when
// it is not protected.
type ProtectedTask struct {
	ExpirationDate    Time   `json:"expirationDate,omitzero"`
	ProtectionEnabled bool   `json:"protectionEnabled"`
	TaskARN           string `json:"taskArn"`
}

// GetTaskProtectionInput names tasks of a cluster.
type GetTaskProtectionInput struct {
	Cluster string   `json:"cluster"`
	Tasks   []string `json:"tasks"`
}

// GetTaskProtectionOutput has an entry in one of the lists for each task.
type GetTaskProtectionOutput struct {
	Failures       []Failure       `json:"failures"`
	ProtectedTasks []ProtectedTask `json:"protectedTasks"`
}

// GetTaskProtection reads the scale-in protection of tasks.
func (c *Client) GetTaskProtection(ctx context.Context, in *GetTaskProtectionInput) (*GetTaskProtectionOutput, error) {
	return call[GetTaskProtectionInput, GetTaskProtectionOutput](ctx, c, "GetTaskProtection", in)
}

// UpdateTaskProtectionInput sets the protection of tasks; without ExpiresInMinutes
// the service's default applies.
type UpdateTaskProtectionInput struct {
	Cluster           string   `json:"cluster"`
	ExpiresInMinutes  *int     `json:"expiresInMinutes,omitempty"`
	ProtectionEnabled bool     `json:"protectionEnabled"`
	Tasks             []string `json:"tasks"`
}

// UpdateTaskProtectionOutput has an entry in one of the lists for each task.
type UpdateTaskProtectionOutput struct {
	Failures       []Failure       `json:"failures"`
	ProtectedTasks []ProtectedTask `json:"protectedTasks"`
}

// UpdateTaskProtection changes the scale-in protection of tasks.
func (c *Client) UpdateTaskProtection(ctx context.Context, in *UpdateTaskProtectionInput) (*UpdateTaskProtectionOutput, error) {
	return call[UpdateTaskProtectionInput, UpdateTaskProtectionOutput](ctx, c, "UpdateTaskProtection", in)
}
