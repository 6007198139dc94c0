package api

import "encoding/json"

// Cluster is a group of container instances and tasks.
type Cluster struct {
	ClusterARN                string            `json:"clusterArn"`
	ClusterName               string            `json:"clusterName"`
	Configuration             json.RawMessage   `json:"configuration,omitempty"`
	Status                    string            `json:"status"`
	RegisteredInstancesCount  int               `json:"registeredContainerInstancesCount"`
	RunningTasksCount         int               `json:"runningTasksCount"`
	PendingTasksCount         int               `json:"pendingTasksCount"`
	ActiveServicesCount       int               `json:"activeServicesCount"`
	Statistics                []KeyValue        `json:"statistics"`
	Tags                      []Tag             `json:"tags"`
	Settings                  []ClusterSetting  `json:"settings"`
	CapacityProviders         []string          `json:"capacityProviders"`
	DefaultCapacityStrategies []json.RawMessage `json:"defaultCapacityProviderStrategy"`
}

// ClusterSetting is a setting of a cluster, such as containerInsights.
type ClusterSetting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// CreateClusterRequest makes a cluster.
type CreateClusterRequest struct {
	ClusterName       string           `json:"clusterName,omitempty"`
	Tags              []Tag            `json:"tags,omitempty"`
	Settings          []ClusterSetting `json:"settings,omitempty"`
	Configuration     json.RawMessage  `json:"configuration,omitempty"`
	CapacityProviders []string         `json:"capacityProviders,omitempty"`
}

// ClusterResponse answers CreateCluster and DeleteCluster.
type ClusterResponse struct {
	Cluster Cluster `json:"cluster"`
}

// DescribeClustersRequest asks for clusters by name or ARN.
type DescribeClustersRequest struct {
	Clusters []string `json:"clusters,omitempty"`
	Include  []string `json:"include,omitempty"`
}

// DescribeClustersResponse answers DescribeClusters.
type DescribeClustersResponse struct {
	Clusters []Cluster `json:"clusters"`
	Failures []Failure `json:"failures"`
}

// ListClustersResponse answers ListClusters.
type ListClustersResponse struct {
	ClusterARNs []string `json:"clusterArns"`
	NextToken   string   `json:"nextToken,omitempty"`
}

// DeleteClusterRequest deletes a cluster.
type DeleteClusterRequest struct {
	Cluster string `json:"cluster"`
}

// TagResourceRequest puts tags on a resource.
type TagResourceRequest struct {
	ResourceARN string `json:"resourceArn"`
	Tags        []Tag  `json:"tags"`
}

// UntagResourceRequest takes tags off a resource.
type UntagResourceRequest struct {
	ResourceARN string   `json:"resourceArn"`
	TagKeys     []string `json:"tagKeys"`
}

// ListTagsForResourceRequest asks for the tags of a resource.
type ListTagsForResourceRequest struct {
	ResourceARN string `json:"resourceArn"`
}

// ListTagsForResourceResponse answers ListTagsForResource.
type ListTagsForResourceResponse struct {
	Tags []Tag `json:"tags"`
}

// Empty is a response without members.
type Empty struct{}

// DescribeCapacityProvidersRequest asks for capacity providers; there are none.
type DescribeCapacityProvidersRequest struct {
	CapacityProviders []string `json:"capacityProviders,omitempty"`
}

// DescribeCapacityProvidersResponse answers DescribeCapacityProviders.
type DescribeCapacityProvidersResponse struct {
	CapacityProviders []json.RawMessage `json:"capacityProviders"`
	Failures          []Failure         `json:"failures"`
}

// DescribeServicesRequest asks for services; there are none.
type DescribeServicesRequest struct {
	Cluster  string   `json:"cluster,omitempty"`
	Services []string `json:"services"`
}

// DescribeServicesResponse answers DescribeServices.
type DescribeServicesResponse struct {
	Services []json.RawMessage `json:"services"`
	Failures []Failure         `json:"failures"`
}

// ListServicesRequest lists services; there are none.
type ListServicesRequest struct {
	Cluster string `json:"cluster,omitempty"`
}

// ListServicesResponse answers ListServices.
type ListServicesResponse struct {
	ServiceARNs []string `json:"serviceArns"`
}
