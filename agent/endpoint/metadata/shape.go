package metadata

import "time"

// The bodies of docs/spec/04 sections 3.6 to 3.9. Versions 2 and 3 share a shape; the
// order of keys is that of the specification's examples.

type limits struct {
	CPU    float64 `json:",omitempty"` // vCPUs
	Memory int64   `json:",omitempty"` // MiB
}

type tags = map[string]string

type taskV3 struct {
	Cluster               string
	TaskARN               string
	Family                string
	Revision              string
	DesiredStatus         string `json:",omitempty"`
	KnownStatus           string
	Containers            []containerV3 `json:",omitempty"`
	Limits                *limits       `json:",omitempty"`
	PullStartedAt         *time.Time    `json:",omitempty"`
	PullStoppedAt         *time.Time    `json:",omitempty"`
	ExecutionStoppedAt    *time.Time    `json:",omitempty"`
	AvailabilityZone      string        `json:",omitempty"`
	TaskTags              tags          `json:",omitempty"`
	ContainerInstanceTags tags          `json:",omitempty"`
}

type taskV4 struct {
	Cluster               string
	TaskARN               string
	Family                string
	Revision              string
	DesiredStatus         string `json:",omitempty"`
	KnownStatus           string
	Limits                *limits       `json:",omitempty"`
	PullStartedAt         *time.Time    `json:",omitempty"`
	PullStoppedAt         *time.Time    `json:",omitempty"`
	ExecutionStoppedAt    *time.Time    `json:",omitempty"`
	AvailabilityZone      string        `json:",omitempty"`
	TaskTags              tags          `json:",omitempty"`
	ContainerInstanceTags tags          `json:",omitempty"`
	LaunchType            string        `json:",omitempty"`
	Errors                []tagError    `json:",omitempty"`
	Containers            []containerV4 `json:",omitempty"`
	VPCID                 string        `json:",omitempty"`
	ServiceName           string        `json:",omitempty"`
	FaultInjectionEnabled bool
	AvailabilityZoneID    string `json:",omitempty"`
}

// tagError tells of tags that could not be had.
type tagError struct {
	ErrorField   string `json:",omitempty"`
	ErrorCode    string `json:",omitempty"`
	ErrorMessage string `json:",omitempty"`
	StatusCode   int    `json:",omitempty"`
	RequestId    string `json:",omitempty"` //nolint:revive // the wire's name
	ResourceARN  string `json:",omitempty"`
}

type port struct {
	ContainerPort uint16 `json:",omitempty"`
	Protocol      string
	HostPort      uint16 `json:",omitempty"`
	HostIp        string `json:",omitempty"` //nolint:revive // the wire's name; version 4 only
}

// containerLimits always has both keys.
type containerLimits struct {
	CPU    int64 // shares
	Memory int64 // MiB
}

type health struct {
	Status   string     `json:"status,omitempty"`
	Since    *time.Time `json:"statusSince,omitempty"`
	ExitCode int        `json:"exitCode,omitempty"`
	Output   string     `json:"output,omitempty"`
}

type volume struct {
	DockerName  string `json:",omitempty"`
	Source      string `json:",omitempty"`
	Destination string `json:",omitempty"`
}

type networkV3 struct {
	NetworkMode   string
	IPv4Addresses []string `json:",omitempty"`
	IPv6Addresses []string `json:",omitempty"`
}

type networkV4 struct {
	networkV3
	AttachmentIndex          *int     `json:",omitempty"`
	MACAddress               string   `json:",omitempty"`
	IPv4SubnetCIDRBlock      string   `json:",omitempty"`
	IPv6SubnetCIDRBlock      string   `json:",omitempty"`
	DomainNameServers        []string `json:",omitempty"`
	DomainNameSearchList     []string `json:",omitempty"`
	PrivateDNSName           string   `json:",omitempty"`
	SubnetGatewayIpv4Address string   `json:",omitempty"`
	SubnetGatewayIpv6Address string   `json:",omitempty"`
}

// containerHead is what both shapes begin with.
type containerHead struct {
	DockerId      string //nolint:revive // the wire's name
	Name          string
	DockerName    string
	Image         string
	ImageID       string
	Ports         []port            `json:",omitempty"`
	Labels        map[string]string `json:",omitempty"`
	DesiredStatus string
	KnownStatus   string
	ExitCode      *int `json:",omitempty"`
	Limits        containerLimits
	CreatedAt     *time.Time `json:",omitempty"`
	StartedAt     *time.Time `json:",omitempty"`
	FinishedAt    *time.Time `json:",omitempty"`
	Type          string
}

type containerV3 struct {
	containerHead
	Networks []networkV3 `json:",omitempty"`
	Health   *health     `json:",omitempty"`
	Volumes  []volume    `json:",omitempty"`
}

type containerV4 struct {
	containerHead
	Health       *health           `json:",omitempty"`
	Volumes      []volume          `json:",omitempty"`
	LogDriver    string            `json:",omitempty"`
	LogOptions   map[string]string `json:",omitempty"`
	ContainerARN string            `json:",omitempty"`
	Networks     []networkV4       `json:",omitempty"`
	RestartCount *int              `json:",omitempty"`
}
